"""Networks that the public reference stored, read safely into those of this package."""
