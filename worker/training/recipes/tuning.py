"""What follows growth: tuning of the grown network, then of what its support made of it."""

from collections.abc import Callable

from worker.training.config import GrowConfig
from worker.training.recipes.family import Family
from worker.training.recipes.run import Run, Support
from worker.training.recipes.twin import plain
from worker.training.schedule import rates


def tune(config: GrowConfig, run: Run, family: Family) -> None:
    """Tune the grown network, then what its support left of it, in place; add both to the family.

    The second starts from the support at the end of growth: while the grown network is tuned nearly
    every filter is selected, and slicing it then would save nothing. A support that is full leaves
    the grown network itself, which is not tuned twice.

    Args:
        config: what to do.
        run: anywhere behind its rounds of growth.
        family: writes the members.
    """
    cut = run.cut
    if cut is None:
        raise ValueError("a run must have a cut network when its growth has ended, it has none")
    pruned_epochs = 0 if cut.whole else config.tune.pruned_epochs
    if run.phase == "tune":
        if not run.phase_epoch and not run.batches.position:
            run.epochs = run.epoch + config.tune.epochs + pruned_epochs
        _anneal(config, run, config.tune.epochs, run.selected)
        if config.tune.epochs:
            family.add(run, run.net, "tuned", f"round {run.round}, tuned", run.accuracy)
        run.net, run.optimizer = cut.net, plain(cut.net, config.optim)
        run.enter("prune")
    if pruned_epochs:
        # Without a twin; the path goes on in the filters of the grown network.
        _anneal(config, run, pruned_epochs, lambda: cut.kept)
        origin = f"round {run.round}, support, tuned"
        family.add(run, run.net, "tuned", origin, run.accuracy, kept=cut.kept)


def _anneal(config: GrowConfig, run: Run, epochs: int, support: Callable[[], Support]) -> None:
    """Train for what is left of the epochs of a tuning, in place."""
    while run.phase_epoch < epochs:
        steps = rates(
            config.tune.schedule,
            config.optim.learning_rate,
            epoch=run.phase_epoch,
            epochs=epochs,
            steps=len(run.batches),
        )
        run.train(steps, support)
