"""What Gamma selects, in which order, and the path that records it."""
