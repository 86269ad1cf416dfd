"""What filters look like and look for, as images in tensors; drawing them is the worker's part."""
