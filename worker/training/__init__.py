"""Training as a library: data, epochs, recipes, checkpoints. Knows no Celery, SQL or web."""
