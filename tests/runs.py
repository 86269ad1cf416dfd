"""Runs of any kind for tests: left alone, killed around every record, stopped between any steps."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from slbi.nets import backbones
from slbi.nets.widths import Widths
from slbi.structure.path import GrowthRecord, LayerRecord, StepRecord
from worker.training.checkpoint import load
from worker.training.device import generator
from worker.training.epoch import Stopped
from worker.training.keeper import FileLedger, Keeper, Point
from worker.training.kinds import run
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.result import Result
from worker.training.recorder import (
    FileRecord,
    ModelRecord,
    ProgressRecord,
    RunList,
    TestRecord,
)
from worker.training.state import State


@dataclass(frozen=True, kw_only=True)
class Alone:
    """A run that nothing disturbed."""

    config: Any
    result: Result
    path: RunList
    directories: Sequence[Path]

    def file(self, title: str) -> Path:
        """Return where the file of a title lies."""
        (found,) = [record.path for record in self.path.file_records if record.title == title]
        return found

    def member(self, origin: str) -> ModelRecord:
        """Return the only member that came about so."""
        (found,) = [member for member in self.result.members if member.origin == origin]
        return found


def alone(
    config: Any,  # noqa: ANN401 -- each kind has its own
    output: Path,
    directories: Sequence[Path] = (),
    **more: Any,  # noqa: ANN401 -- passed on
) -> Alone:
    """Do a run to its end."""
    path = RunList()
    around = Surroundings(directories=directories, output=output, recorder=path, **more)
    return Alone(config=config, result=run(config, around), path=path, directories=directories)


class States:
    """A keeper that keeps every state, and has one due so many steps after the last.

    Args:
        every: steps; the end of an epoch is kept in any case.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self.states: list[State] = []

    def keep(self, state: State, _point: object) -> None:
        """Keep a state as it comes back from a file."""
        self.states.append(State.from_bytes(state.to_bytes()))


def initial(width: int) -> dict[str, Tensor]:
    """Return the initial weights of a VGG-11 of one width for digits, of the seed 0."""
    net = backbones.build(
        "vgg11",
        Widths(dict.fromkeys(backbones.groups("vgg11", 8), width)),
        in_channels=1,
        size=8,
        classes=10,
        generator=generator(0, "weights"),
    )
    return net.state_dict()


class Killed(BaseException):
    """As if the process were gone: nothing may catch it."""


@dataclass(kw_only=True)
class Mortal(RunList):
    """A recorder at which the process dies once around every record, if it is mortal at all."""

    mortal: bool = True
    written: bool = False
    """Whether it dies when the record is written, or before."""
    deaths: set[str] = field(default_factory=set)
    """Records around which it has died."""

    def layers(self, layers: Sequence[LayerRecord]) -> None:
        known = bool(self.layer_records)  # a database takes those of every attempt, too
        self._die_around("layers", lambda: None if known else super(Mortal, self).layers(layers))

    def step(self, step: StepRecord) -> None:
        self._die_around(f"step {step.step}", lambda: super(Mortal, self).step(step))

    def growth(self, growth: Sequence[GrowthRecord]) -> None:
        self._die_around(f"growth {growth[0].round}", lambda: super(Mortal, self).growth(growth))

    def progress(self, progress: ProgressRecord) -> None:
        told = f"progress {progress.epoch}"
        self._die_around(told, lambda: super(Mortal, self).progress(progress))

    def model(self, model: ModelRecord) -> None:
        told = f"model {model.origin} {model.dataset}"
        self._die_around(told, lambda: super(Mortal, self).model(model))

    def tested(self, results: tuple[TestRecord, ...]) -> None:
        self._die_around("tested", lambda: super(Mortal, self).tested(results))

    def file(self, record: FileRecord) -> None:
        told = f"file {record.title} {record.step}"
        self._die_around(told, lambda: super(Mortal, self).file(record))

    def findings(self, findings: Mapping[str, Any]) -> None:
        self._die_around(f"findings {findings}", lambda: super(Mortal, self).findings(findings))

    def rewind(self, point: Point | None) -> None:
        """Take back what lies beyond a checkpoint, as a database does."""
        at = Point(step=0, epoch=0, round=0, recorded_step=0, models=0) if point is None else point
        self.step_records = [row for row in self.step_records if row.step <= at.recorded_step]
        self.growth_records = [row for row in self.growth_records if row.round < at.round]
        self.progress_records = [row for row in self.progress_records if row.epoch <= at.epoch]
        self.file_records = [row for row in self.file_records if row.step <= at.recorded_step]
        del self.model_records[at.models :]
        self.test_records.clear()

    def _die_around(self, told: str, write: Callable[[], None]) -> None:
        dies = self.mortal and told not in self.deaths
        if dies:
            self.deaths.add(told)
        if dies and not self.written:
            raise Killed
        write()
        if dies:
            raise Killed


@dataclass
class Machine:
    """Runs attempt after attempt at one run, each in a folder of its own."""

    config: Any
    home: Path
    directories: Sequence[Path] = ()
    recorder: Mortal = field(default_factory=lambda: Mortal(mortal=False))
    every: int = 3
    attempts: int = 0
    resumed_from: list[int] = field(default_factory=list)

    def attempt(self, stop: Callable[[], bool] = lambda: False) -> Result:
        self.attempts += 1
        output = self.home / str(self.attempts)
        keeper = Keeper(output, FileLedger(self.home / "ledger.json"), every=self.every)
        found = keeper.last()
        point = None if found.entry is None else found.entry.point
        self.resumed_from.append(0 if point is None else point.step)
        self.recorder.rewind(point)
        around = Surroundings(
            directories=self.directories,
            output=output,
            recorder=self.recorder,
            keeper=keeper,
            state=found.state,
            stop=stop,
        )
        return run(self.config, around)

    def dying_around_records(self) -> Result:
        """Run to the end; each attempt dies at the first record at which none has died before."""
        for _ in range(400):
            try:
                return self.attempt()
            except Killed:
                continue
        raise AssertionError("400 attempts must suffice")

    def dying_between_steps(self, seed: int, longest: int = 25) -> Result:
        """Run to the end, killed or stopped at random, after `longest` steps at the latest."""
        draw = random.Random(seed)  # noqa: S311 - where kills fall is no secret
        left = draw.randint(1, longest)

        def stop() -> bool:
            nonlocal left
            left -= 1
            if left >= 0:
                return False
            left = draw.randint(1, longest)
            if draw.choice(("kill", "stop")) == "kill":
                raise Killed
            return True

        for attempts in range(400):
            try:
                found = self.attempt(stop)
            except (Killed, Stopped):
                continue
            assert attempts
            return found
        raise AssertionError("400 attempts must suffice")


def expect_same(machine: Machine, found: Result, unbroken: Alone) -> None:
    """Compare everything but what a clock says."""
    result, path, mine = unbroken.result, unbroken.path, machine.recorder
    assert mine.layer_records == path.layer_records
    assert [replace(row, seconds=0.0) for row in mine.step_records] == [
        replace(row, seconds=0.0) for row in path.step_records
    ]
    assert mine.growth_records == path.growth_records
    assert mine.test_records == path.test_records == list(found.tests)
    assert mine.found == path.found
    assert [replace(row, eta_seconds=0.0) for row in mine.progress_records] == [
        replace(row, eta_seconds=0.0) for row in path.progress_records
    ]
    _expect_same_members(mine.model_records, path.model_records)
    _expect_same_files(mine.file_records, path.file_records)
    ends = [(each.end, each.steps, each.epochs, each.training_macs) for each in (found, result)]
    assert ends[0] == ends[1]


def _expect_same_members(mine: Sequence[ModelRecord], theirs: Sequence[ModelRecord]) -> None:
    for one, other in zip(mine, theirs, strict=True):
        same: dict[str, Any] = {"latency_ms": 0.0, "checkpoint": Path()}
        assert replace(one, **same) == replace(other, **same)
        weights, expected = load_file(one.checkpoint), load_file(other.checkpoint)
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
        described = [load(each.checkpoint)[1] for each in (one, other)]
        assert replace(described[0], metrics={}) == replace(described[1], metrics={})


def _expect_same_files(mine: Sequence[FileRecord], theirs: Sequence[FileRecord]) -> None:
    assert {one.title for one in mine} == {other.title for other in theirs}
    for other in theirs:
        (one,) = [each for each in mine if each.title == other.title]
        assert replace(one, path=Path()) == replace(other, path=Path())
        assert one.path.read_bytes() == other.path.read_bytes()
