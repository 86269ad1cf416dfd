"""What can be grown and sliced: every classifier of torchvision, none with code of its own."""
