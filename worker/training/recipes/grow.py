"""The recipe `grow`: rounds of growth, tuning, slicing; a family of networks and their path."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from slbi.nets import backbones
from worker.training.config import GrowConfig
from worker.training.data.batches import TrainingBatches
from worker.training.data.load import load
from worker.training.device import Compute, generator, resolve, threads
from worker.training.recipes.begin import check_start, couple, path_layers, start_widths
from worker.training.recipes.budget import Budget
from worker.training.recipes.family import Family, measured
from worker.training.recipes.rounds import grow_rounds
from worker.training.recipes.run import Run
from worker.training.recipes.tuning import tune
from worker.training.recorder import ModelRecord, RunRecorder, TestRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowResult:
    """What came of a run, beside what it recorded."""

    end: str
    """Why growth ended."""
    members: tuple[ModelRecord, ...]
    tests: tuple[TestRecord, ...]
    epochs: int
    steps: int
    training_macs: int
    """Multiply-accumulates of all training: 3 x forward, and the forward passes of slicing."""
    seconds: float


def grow(
    config: GrowConfig,
    *,
    directories: Sequence[Path],
    output: Path,
    recorder: RunRecorder,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> GrowResult:
    """Grow a network on a data set.

    Args:
        config: what to do.
        directories: where data sets lie, searched in order.
        output: folder of the checkpoints, made if it is not there.
        recorder: takes the path, the family and the progress.
        stop: asked before every step.
        clock: seconds, from any origin.

    Raises:
        ValueError: the config does not suit the data set or the backbone, or cannot be afforded.
        DatasetError: the data set is absent or cannot be used.
        Stopped: `stop` said so.
        DivergedError: the loss is no finite number any more.
    """
    begun = clock()
    compute = resolve(config.compute)
    with threads(config.compute.threads):
        run = _begin(config, compute, directories, recorder=recorder, stop=stop, clock=clock)
        output.mkdir(parents=True, exist_ok=True)
        family = Family(
            output=output,
            config=asdict(config),
            draw=generator(config.compute.seed, "recalibrate"),
        )
        rounds = grow_rounds(config, run, family, begun=begun)
        tune(config, run, family, rounds.cut)
        tests = family.test(run.data.test.read(), run.data, compute)
        recorder.tested(tests)
    return GrowResult(
        end=rounds.end,
        members=tuple(family.members),
        tests=tests,
        epochs=run.epoch,
        steps=run.step,
        training_macs=run.training_macs,
        seconds=clock() - begun,
    )


def _begin(
    config: GrowConfig,
    compute: Compute,
    directories: Sequence[Path],
    *,
    recorder: RunRecorder,
    stop: Callable[[], bool],
    clock: Callable[[], float],
) -> Run:
    """Return the run before its first step, its layers reported."""
    number = config.compute.seed
    data = load(config.data, directories, split=generator(number, "split"), device=compute.device)
    batches = TrainingBatches(
        data.train,
        batch=config.optim.batch,
        normalisation=data.normalisation,
        augmentation=data.augmentation,
        order=generator(number, "order"),
        variation=generator(number, "augment"),
    )
    net = backbones.build(
        config.backbone,
        start_widths(config.growth, backbones.groups(config.backbone, data.size)),
        in_channels=data.channels,
        size=data.size,
        classes=len(data.train.classes),
        generator=generator(number, "weights"),
    )
    budget = Budget(
        growth=config.growth,
        tune=config.tune,
        images=batches.images,
        measured=measured(len(data.train)),
    )
    check_start(config.growth, net, budget)
    compute.place(net)
    layers = path_layers(net)
    recorder.layers(layers)
    return Run(
        net=net,
        optimizer=couple(net, config.optim, steps=budget.round_epochs * len(batches)),
        data=data,
        batches=batches,
        compute=compute,
        budget=budget,
        layers=layers,
        recorder=recorder,
        stop=stop,
        clock=clock,
        epochs=budget.epochs,
    )
