"""The methods by name, and what each is called in a table."""

from bench.family import ours, rivals_grown, rivals_pruned, rivals_uniform
from bench.family.task import Method
from bench.family.transferred import in_loud_pairs

METHODS: dict[str, Method] = {
    "ours": ours.ours,
    "uniform-even": rivals_uniform.evenly,
    "uniform-epochs": rivals_uniform.by_epochs,
    "pruned-l2": rivals_pruned.by_norm,
    "pruned-taylor": rivals_pruned.by_taylor,
    "grown-reference": rivals_grown.by_reference,
    "grown-variance-transfer": rivals_grown.by_variance_transfer,
    "grown-gradmax": rivals_grown.by_gradmax,
    "ours-gain": ours.varied(choose=ours.choose_votes),
    "ours-full": ours.varied(choose=ours.choose_full),
    "ours-level": ours.level,
    "ours-uneased": ours.varied(eases=False),
    "ours-tight": ours.varied(coupling=1.0),
    "ours-loud": ours.varied(widen=in_loud_pairs),
    "ours-unread": ours.varied(widen=ours.at_random),
    "ours-forks": ours.varied(forks=True),
    "ours-full-rate": ours.varied(calms=False),
    "ours-long-hold": ours.varied(hold=0.7),
    "ours-short-hold": ours.varied(hold=0.3),
    "uniform-alone": rivals_uniform.alone,
    "ours-alone": ours.alone(),
    "ours-alone-straight": ours.alone(halts=False),
}
"""Name -> method, in the order in which they are run."""

TITLES = {
    "ours": "ours: layers alike, cancelling pairs, loose twins",
    "ours-gain": "6 ours, layers by Gamma: gain per cost",
    "ours-full": "6 ours, layers by Gamma: full ones",
    "ours-level": "ours, compute shared out equally",
    "ours-uneased": "ours, twins pull as hard in short stages",
    "ours-tight": "ours, twins pull fully",
    "ours-loud": "ours, new filters read as strongly as old ones",
    "ours-unread": "ours, new filters nobody reads",
    "ours-forks": "ours, a copy annealed for each budget",
    "ours-full-rate": "ours, every stage at the full rate",
    "ours-long-hold": "ours, annealed in 0.3 of a stage",
    "ours-short-hold": "ours, annealed in 0.7 of a stage",
    "ours-alone": "ours, one budget, all of C each",
    "ours-alone-straight": "ours, one budget, no station, all of C each",
    "uniform-even": "2a narrow from scratch, C/5 each",
    "uniform-epochs": "2b narrow from scratch, equal epochs",
    "uniform-alone": "2c narrow from scratch, all of C each",
    "pruned-l2": "3 dense C/2, Torch-Pruning L2, C/10 each",
    "pruned-taylor": "3 dense C/2, Torch-Pruning Taylor, C/10 each",
    "grown-reference": "4 the reference's rule, restart",
    "grown-variance-transfer": "5 variance transfer under SGD",
    "grown-gradmax": "5 GradMax under SGD",
}
"""Name -> what a table calls it, in its order."""
