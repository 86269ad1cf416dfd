"""The recipe `grow`: rounds of growth, tuning, slicing; a family of networks and their path."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from slbi.nets import backbones
from worker.training.config import GrowConfig
from worker.training.data.batches import TrainingBatches
from worker.training.data.load import load
from worker.training.device import Compute, Purpose, generator, resolve, threads
from worker.training.epoch import Tally
from worker.training.files import Mark, unmarked
from worker.training.keeper import Keeper
from worker.training.recipes.begin import check_start, couple, path_layers, start_widths
from worker.training.recipes.budget import Budget
from worker.training.recipes.family import Family, measured, on_test_split
from worker.training.recipes.resume import capture, point, restore
from worker.training.recipes.rounds import grow_rounds
from worker.training.recipes.run import Run
from worker.training.recipes.tuning import tune
from worker.training.recorder import ModelRecord, RunRecorder, TestRecord
from worker.training.state import State

_LATER: tuple[Purpose, ...] = ("growth", "recalibrate")
"""What is drawn for while a run goes on, beside its batches."""


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
    keeper: Keeper | None = None,
    state: State | None = None,
    mark: Mark = unmarked,
) -> GrowResult:
    """Grow a network on a data set, or go on with it.

    Args:
        config: what to do.
        directories: where data sets lie, searched in order.
        output: folder of the checkpoints, made if it is not there.
        recorder: takes the path, the family and the progress.
        stop: asked before every step; then a checkpoint is kept.
        clock: seconds, from any origin.
        keeper: keeps a checkpoint after every epoch, every so many steps, and when stopping; None
            keeps none.
        state: from which to go on, of a run of the same config; `recorder` is told only what
            follows it, and the layers. None begins anew.
        mark: called around each step of writing a member's file.

    Raises:
        StateError: the state is of another config or of other data.
        NoSpaceError: there is no room for a file.
        ValueError: the config does not suit the data set or the backbone, or cannot be afforded.
        DatasetError: the data set is absent or cannot be used.
        Stopped: `stop` said so.
        DivergedError: the loss is no finite number any more.
    """
    told = asdict(config)
    compute = resolve(config.compute)
    with threads(config.compute.threads):
        run = _begin(config, compute, directories, recorder=recorder, stop=stop, clock=clock)
        output.mkdir(parents=True, exist_ok=True)
        if state is not None:
            restore(run, state, config=told, output=output)
        if keeper is not None:
            run.keep = lambda run: keeper.keep(capture(run, config=told, output=output), point(run))
            run.keep_every = keeper.every
        family = Family(output=output, config=told, mark=mark)
        grow_rounds(config, run, family)
        tune(config, run, family)
        tests = on_test_split(run.members, run.data.test.read(), run.data, compute)
        recorder.tested(tests)
    return GrowResult(
        end=run.end or "",
        members=tuple(run.members),
        tests=tests,
        epochs=run.epoch,
        steps=run.step,
        training_macs=run.training_macs,
        seconds=clock() - run.begun,
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
    begun = clock()
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
        begun=begun,
        keep=lambda _run: None,
        keep_every=sys.maxsize,
        draws={purpose: generator(number, purpose) for purpose in _LATER},
        tally=Tally(compute.device),
        epochs=budget.epochs,
    )
