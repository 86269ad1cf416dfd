"""Finished networks in forms that other programs read: ONNX, torch.export, and plain data."""
