"""One run, a family: accuracy against cost at equal training compute, ours beside its rivals."""
