"""Training for a given number of epochs, as every recipe but growth does it."""

from collections.abc import Callable
from statistics import fmean

from slbi.nets.backbone import Backbone
from slbi.optim.optimizer import SLBI
from worker.training.config import OptimConfig
from worker.training.plans import TrainingConfig, TwinConfig
from worker.training.recipes.run import Run, Support
from worker.training.recipes.twin import EARLY, couple
from worker.training.schedule import rates


def coupled(
    net: Backbone, optim: OptimConfig, twin: TwinConfig, training: TrainingConfig, steps: int
) -> SLBI:
    """Return the optimizer of a fresh network whose twins move while it is trained.

    Args:
        net: a network with its initial weights.
        optim: the settings of the optimizer.
        twin: which weights have a twin.
        training: how long, and how the learning rate falls; mu = "auto" is solved for that.
        steps: of an epoch.
    """
    means = [
        fmean(_rates(training, optim.learning_rate, epoch, steps))
        for epoch in range(training.epochs)
    ]
    length = training.epochs * steps
    return couple(net, optim, steps=length, twin=twin, rate=fmean(means), entry=EARLY)


def learn(
    run: Run,
    training: TrainingConfig,
    base: float,
    support: Callable[[], Support],
    *,
    done: Callable[[], bool] = lambda: False,
) -> None:
    """Train for what is left of the epochs of a phase, in place.

    Args:
        run: anywhere in the phase.
        training: how long, and how the learning rate falls.
        base: the learning rate, where `training` names none.
        support: what the path shows after every epoch.
        done: asked before every epoch; True ends the phase.
    """
    while run.phase_epoch < training.epochs and (run.batches.position or not done()):
        run.train(_rates(training, base, run.phase_epoch, len(run.batches)), support)


def _rates(training: TrainingConfig, base: float, epoch: int, steps: int) -> list[float]:
    """Return the learning rate of every step of an epoch."""
    return rates(
        training.schedule,
        base if training.learning_rate is None else training.learning_rate,
        epoch=epoch,
        epochs=training.epochs,
        steps=steps,
        drops=training.drops,
        factor=training.factor,
    )
