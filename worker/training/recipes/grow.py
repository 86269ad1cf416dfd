"""The recipe `grow`: rounds of growth, tuning, slicing; a family of networks and their path."""

from functools import partial

from worker.training import backbones
from worker.training.config import GrowConfig
from worker.training.data.batches import Batches
from worker.training.data.load import Data
from worker.training.device import generator
from worker.training.recipes.begin import check_start, closed, path_layers, start_widths
from worker.training.recipes.budget import Budget
from worker.training.recipes.conduct import Surroundings, Workplace, conduct
from worker.training.recipes.family import Family, measured
from worker.training.recipes.result import Result
from worker.training.recipes.rounds import grow_rounds
from worker.training.recipes.run import Run
from worker.training.recipes.tuning import tune
from worker.training.recipes.twin import couple


def grow(config: GrowConfig, around: Surroundings) -> Result:
    """Grow a network on a data set, or go on with it.

    Raises:
        as `conduct`.
    """

    def body(run: Run, family: Family) -> None:
        grow_rounds(config, run, family, _budget(config, run.data, run.batches))
        tune(config, run, family)

    return conduct(config, around, partial(_begin, config), body)


def _begin(config: GrowConfig, place: Workplace) -> Run:
    """Return the run before its first step."""
    data, steps = place.data, len(place.batches)
    groups = backbones.groups(config.backbone, data.size, config.stem)
    net = backbones.build(
        config.backbone,
        start_widths(config.growth, groups),
        in_channels=data.channels,
        size=data.size,
        classes=len(data.train.classes),
        stem=config.stem,
        generator=generator(place.seed, "weights"),
    )
    budget = _budget(config, data, place.batches)
    check_start(config.growth, net, budget)
    place.compute.place(net)
    return place.run(
        net,
        couple(net, config.optim, steps=budget.round_epochs * steps),
        path_layers(net, closed(config.growth, net)),
        phase="grow",
        epochs=budget.epochs,
    )


def _budget(config: GrowConfig, data: Data, batches: Batches) -> Budget:
    return Budget(
        growth=config.growth,
        tune=config.tune,
        images=batches.images,
        measured=measured(len(data.train)),
    )
