"""The methods by name, and what each is called in a table."""

from bench.family import ours, rivals_grown, rivals_pruned, rivals_uniform
from bench.family.task import Method

METHODS: dict[str, Method] = {
    "ours-votes": ours.by_votes,
    "uniform-even": rivals_uniform.evenly,
    "uniform-epochs": rivals_uniform.by_epochs,
    "pruned-l2": rivals_pruned.by_norm,
    "pruned-taylor": rivals_pruned.by_taylor,
    "ours-fill": ours.by_fill,
    "ours-pairs": ours.by_votes_in_pairs,
    "ours-loose": ours.by_loose_votes,
    "grown-uniform": ours.by_uniform,
    "grown-reference": rivals_grown.by_reference,
    "grown-variance-transfer": rivals_grown.by_variance_transfer,
    "grown-gradmax": rivals_grown.by_gradmax,
    "uniform-alone": rivals_uniform.alone,
    "ours-alone": ours.alone,
}
"""Name -> method, in the order in which they are run."""

TITLES = {
    "ours-votes": "ours: layers by fill x momentum per cost",
    "ours-fill": "ours: full layers",
    "ours-pairs": "ours: the first, filters in cancelling pairs",
    "ours-loose": "ours: in pairs, twins pull a tenth",
    "ours-alone": "ours, one budget, all of C each",
    "uniform-even": "2a narrow from scratch, C/5 each",
    "uniform-epochs": "2b narrow from scratch, equal epochs",
    "uniform-alone": "2c narrow from scratch, all of C each",
    "pruned-l2": "3 dense C/2, Torch-Pruning L2, C/10 each",
    "pruned-taylor": "3 dense C/2, Torch-Pruning Taylor, C/10 each",
    "grown-reference": "4 the reference's rule, restart",
    "grown-variance-transfer": "5 variance transfer, all layers alike",
    "grown-gradmax": "5 GradMax, all layers alike",
    "grown-uniform": "6 our engine, all layers alike",
}
"""Name -> what a table calls it, in its order."""
