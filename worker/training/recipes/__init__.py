"""One module per recipe: what a run does from its first batch to its last checkpoint."""
