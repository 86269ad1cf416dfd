"""What follows growth: tuning of the grown network, then of what its support made of it."""

from collections.abc import Callable

from slbi.structure.path import Phase
from worker.training.config import GrowConfig
from worker.training.recipes.begin import plain
from worker.training.recipes.family import Cut, Family
from worker.training.recipes.run import Run, Support
from worker.training.schedule import rates


def tune(config: GrowConfig, run: Run, family: Family, cut: Cut) -> None:
    """Tune the grown network, then what its support left of it, in place; add both to the family.

    The second starts from the support at the end of growth: while the grown network is tuned nearly
    every filter is selected, and slicing it then would save nothing. A support that is full leaves
    the grown network itself, which is not tuned twice.

    Args:
        config: what to do.
        run: as the last round left it.
        family: takes the members.
        cut: the network of the last round, sliced to its support.
    """
    pruned_epochs = 0 if cut.whole else config.tune.pruned_epochs
    run.epochs = run.epoch + config.tune.epochs + pruned_epochs
    if config.tune.epochs:
        _anneal(config, run, "tune", config.tune.epochs, run.selected)
        family.add(run, run.net, "tuned", f"round {run.round}, tuned", run.accuracy)
    if pruned_epochs:
        _tune_cut(config, run, family, cut)


def _tune_cut(config: GrowConfig, run: Run, family: Family, cut: Cut) -> None:
    """Tune a sliced network, without a twin; its path goes on in the filters of the grown one."""
    run.net = cut.net
    run.optimizer = plain(run.net, config.optim)
    _anneal(config, run, "prune", config.tune.pruned_epochs, lambda: cut.kept)
    family.add(run, run.net, "tuned", f"round {run.round}, support, tuned", run.accuracy)


def _anneal(
    config: GrowConfig, run: Run, phase: Phase, epochs: int, support: Callable[[], Support]
) -> None:
    """Train for the epochs of a tuning, in place."""
    for epoch in range(epochs):
        steps = rates(
            config.tune.schedule,
            config.optim.learning_rate,
            epoch=epoch,
            epochs=epochs,
            steps=len(run.batches),
        )
        run.train(phase, steps, support)
