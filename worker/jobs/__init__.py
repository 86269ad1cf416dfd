"""Jobs: how a worker finds, claims and runs them, and how a training process reports to SQL."""
