"""What every recipe that trains shares: its surroundings, its workplace, its course."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from slbi.nets.backbone import Backbone
from slbi.optim.optimizer import SLBI
from slbi.structure.path import LayerRecord, Phase
from worker.training.config import ComputeConfig, DataConfig, OptimConfig
from worker.training.data.batches import Batches
from worker.training.data.draw import training_batches
from worker.training.data.load import Data, load
from worker.training.device import Compute, Purpose, generator, resolve, threads
from worker.training.epoch import Tally
from worker.training.files import Mark, unmarked
from worker.training.keeper import Keeper
from worker.training.recipes.family import Family, on_test_split
from worker.training.recipes.result import Result
from worker.training.recipes.resume import capture, point, restore
from worker.training.recipes.run import Run
from worker.training.recorder import RunRecorder
from worker.training.state import State
from worker.training.team import ALONE, Team

_LATER: tuple[Purpose, ...] = ("growth", "recalibrate")
"""What is drawn for while a run goes on, beside its batches."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where a run reads and writes, what it tells, and from where it goes on."""

    directories: Sequence[Path]
    """Where data sets lie, searched in order."""
    output: Path
    """Folder of the files, made if it is not there."""
    recorder: RunRecorder
    """Takes the path, the family and the progress."""
    stop: Callable[[], bool] = lambda: False
    """Asked before every step; then a checkpoint is kept."""
    clock: Callable[[], float] = time.monotonic
    """Seconds, from any origin."""
    keeper: Keeper | None = None
    """Keeps a checkpoint after every epoch, every so many steps, and when stopping; None: none."""
    state: State | None = None
    """From which to go on, of a run of the same config; `recorder` is told only what follows it,
    and the layers. None begins anew."""
    mark: Mark = unmarked
    """Called around each step of writing a file."""
    team: Team = ALONE
    """The processes that do the run together; of what is above, only the leader's is asked."""


class Trains(Protocol):
    """What the config of every run that trains says."""

    @property
    def data(self) -> DataConfig:
        """Which images."""

    @property
    def optim(self) -> OptimConfig:
        """How the weights learn."""

    @property
    def compute(self) -> ComputeConfig:
        """On what."""


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What a run works with before there is a network."""

    compute: Compute
    seed: int
    data: Data
    batches: Batches
    around: Surroundings
    begun: float = field(default=0.0)

    def run(
        self,
        net: Backbone,
        optimizer: SLBI,
        layers: tuple[LayerRecord, ...],
        *,
        phase: Phase,
        epochs: int,
    ) -> Run:
        """Return a run before its first step, its layers reported; `net` is on the device."""
        around = self.around
        around.recorder.layers(layers)
        return Run(
            net=net,
            optimizer=optimizer,
            data=self.data,
            batches=self.batches,
            compute=self.compute,
            layers=layers,
            recorder=around.recorder,
            stop=around.stop,
            clock=around.clock,
            begun=self.begun,
            keep=lambda _run: None,
            keep_every=sys.maxsize,
            draws={purpose: generator(self.seed, purpose) for purpose in _LATER},
            tally=Tally(self.compute.device),
            phase=phase,
            epochs=epochs,
            kept_at=(0, 0, phase),
            team=around.team,
        )


def workplace(
    around: Surroundings, *, data: DataConfig, compute: ComputeConfig, batch: int, begun: float
) -> Workplace:
    """Return what a run works with: device, data set, batches.

    Raises:
        DatasetError: the data set is absent or cannot be used.
        ValueError: CUDA is asked for and there is none.
    """
    device = resolve(compute)
    seed = compute.seed
    loaded = load(data, around.directories, split=generator(seed, "split"), device=device.device)
    return Workplace(
        compute=device,
        seed=seed,
        data=loaded,
        batches=batches_of(loaded, batch, seed, around.team),
        around=around,
        begun=begun,
    )


def batches_of(data: Data, batch: int, seed: int, team: Team = ALONE) -> Batches:
    """Return this process's share of the batches of a data set from their first epoch on."""
    return training_batches(
        data,
        batch,
        order=generator(seed, "order"),
        variation=generator(seed, "augment"),
        share=team.share,
    )


def conduct(
    config: Trains,
    around: Surroundings,
    begin: Callable[[Workplace], Run],
    body: Callable[[Run, Family], None],
    *,
    data: DataConfig | None = None,
    told: dict[str, Any] | None = None,
) -> Result:
    """Run a recipe: begin it, go on from a state if there is one, do its work, test its family.

    Args:
        config: of the run.
        around: the run's surroundings.
        begin: returns the run before its first step.
        body: does what is left of the run and adds its members to the family.
        data: what the run is at, where that is not the data of its config.
        told: the whole config, where JSON cannot say it as it is.

    Raises:
        StateError: the state is of another config or of other data.
        NoSpaceError: there is no room for a file.
        ValueError: the config does not suit the data set or the backbone, or cannot be afforded.
        DatasetError: the data set is absent or cannot be used.
        Stopped: `stop` said so.
        DivergedError: the loss is no finite number any more.
    """
    begun, compute = around.clock(), config.compute
    said = asdict(cast("Any", config)) if told is None else told
    with threads(compute.threads), torch.random.fork_rng():
        _seed_dropout(compute.seed, around.team)
        place = workplace(
            around,
            data=config.data if data is None else data,
            compute=compute,
            batch=config.optim.batch,
            begun=begun,
        )
        run = begin(place)
        output, keeper = around.output, around.keeper
        output.mkdir(parents=True, exist_ok=True)
        if around.state is not None:
            restore(run, around.state, config=said, output=output)
        if keeper is not None:
            run.keep_every = keeper.every
        if keeper is not None and around.team.leads:
            run.keep = lambda run: keeper.keep(capture(run, config=said, output=output), point(run))
        if around.state is not None and not around.team.leads:
            _seed_dropout(compute.seed + run.steps, around.team)  # only the leader's was kept
        body(run, Family(output=output, config=said, mark=around.mark))
        tests = on_test_split(run)
        around.recorder.tested(tests)
    return Result(
        end=run.end or "",
        members=tuple(run.members),
        tests=tests,
        epochs=run.epoch,
        steps=run.step,
        training_macs=run.training_macs,
        seconds=around.clock() - run.begun,
    )


def _seed_dropout(seed: int, team: Team) -> None:
    """Seed torch's own generator, from which dropout draws: other units for other images.

    All else draws from generators of its own, see `worker.training.device.Purpose`.
    """
    torch.manual_seed(generator(seed, "dropout").initial_seed() + team.share.rank)
