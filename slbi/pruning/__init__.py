"""What is not in the support, set to zero or physically removed."""
