"""The recipe `grow`: rounds of growth, tuning, slicing; a family of networks and their path."""

from functools import partial

from worker.training import backbones
from worker.training.config import GrowConfig
from worker.training.data.batches import Batches
from worker.training.data.load import Data
from worker.training.device import generator
from worker.training.recipes.begin import check_start, closed, first_widths, path_layers
from worker.training.recipes.budget import Budget
from worker.training.recipes.conduct import Surroundings, Workplace, conduct
from worker.training.recipes.family import Family, measured
from worker.training.recipes.result import Result
from worker.training.recipes.rounds import grow_rounds, round_rate
from worker.training.recipes.run import Run
from worker.training.recipes.targets import compute, grow_to_targets, notes
from worker.training.recipes.tuning import tune
from worker.training.recipes.twin import couple


def grow(config: GrowConfig, around: Surroundings) -> Result:
    """Grow a network on a data set, or go on with it.

    Raises:
        as `conduct`.
    """

    def body(run: Run, family: Family) -> None:
        budget = _budget(config, run.data, run.batches)
        if config.growth.targets:
            grow_to_targets(config, run, family, budget)
        else:
            grow_rounds(config, run, family, budget)
            tune(config, run, family)

    return conduct(config, around, partial(_begin, config), body)


def _begin(config: GrowConfig, place: Workplace) -> Run:
    """Return the run before its first step."""
    data, steps = place.data, len(place.batches)
    build = partial(
        backbones.build,
        config.backbone,
        in_channels=data.channels,
        size=data.size,
        classes=len(data.train.classes),
        stem=config.stem,
    )
    first = first_widths(config.growth, build(device="meta"))
    net = build(first, generator=generator(place.seed, "weights"))
    budget = _budget(config, data, place.batches)
    check_start(config.growth, net, budget)
    place.compute.place(net)
    pull = config.growth.settled_pull
    rate = round_rate(config, budget, epoch=0, steps=steps)
    run = place.run(
        net,
        couple(net, config.optim, steps=budget.round_epochs * steps, rate=rate, pull=pull),
        path_layers(net, closed(config.growth, net)),
        phase="grow",
        epochs=budget.epochs,
    )
    if config.growth.targets:
        run.expected = compute(config, net, run.batches.images)
        run.notes |= notes(config, net, run.batches)
    return run


def _budget(config: GrowConfig, data: Data, batches: Batches) -> Budget:
    return Budget(
        growth=config.growth,
        tune=config.tune,
        images=batches.images,
        measured=measured(len(data.train)),
    )
