"""Training for a given number of epochs, as every recipe but growth does it."""

from collections.abc import Callable

from worker.training.plans import TrainingConfig
from worker.training.recipes.run import Run, Support
from worker.training.schedule import rates


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
    first = base if training.learning_rate is None else training.learning_rate
    while run.phase_epoch < training.epochs and (run.batches.position or not done()):
        steps = rates(
            training.schedule,
            first,
            epoch=run.phase_epoch,
            epochs=training.epochs,
            steps=len(run.batches),
            drops=training.drops,
            factor=training.factor,
        )
        run.train(steps, support)
