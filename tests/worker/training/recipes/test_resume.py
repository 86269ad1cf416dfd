"""A run that is killed or stopped, however often, ends as the one that was left alone."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from slbi.structure.path import GrowthRecord, LayerRecord, StepRecord
from worker.training.config import (
    ComputeConfig,
    DataConfig,
    GrowConfig,
    GrowthConfig,
    OptimConfig,
    TuneConfig,
)
from worker.training.epoch import Stopped
from worker.training.keeper import FileLedger, Keeper, Point
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.grow import grow
from worker.training.recipes.result import Result
from worker.training.recorder import ModelRecord, ProgressRecord, RunList, TestRecord
from worker.training.state import StateError

VGG = GrowConfig(
    backbone="vgg11",
    data=DataConfig(dataset="digits"),
    optim=OptimConfig(batch=128, mu=0.7, momentum=0.9, weight_decay=1e-4),
    growth=GrowthConfig(start=4, round_epochs=2, max_rounds=3, threshold=0.4, minimum=4),
    tune=TuneConfig(epochs=2, pruned_epochs=2),
    compute=ComputeConfig(device="cpu", threads=1),
)
"""Ten steps an epoch; it grows twice, and its last support is not full."""

RESNET = replace(
    VGG,
    backbone="resnet20",
    optim=replace(VGG.optim, mu=0.2),
    growth=replace(VGG.growth, round_epochs=1, max_rounds=2, seed="gradmax"),
    tune=TuneConfig(epochs=1, pruned_epochs=1),
)


class Killed(BaseException):
    """As if the process were gone: nothing may catch it."""


@dataclass(kw_only=True)
class Mortal(RunList):
    """A recorder at whose `dies_at`th call the process dies, before or after it is written."""

    dies_at: int = -1
    written: bool = False
    calls: int = 0

    def layers(self, layers: Sequence[LayerRecord]) -> None:
        if not self.layer_records:
            super().layers(layers)

    def step(self, step: StepRecord) -> None:
        self._die_around(lambda: super(Mortal, self).step(step))

    def growth(self, growth: Sequence[GrowthRecord]) -> None:
        self._die_around(lambda: super(Mortal, self).growth(growth))

    def progress(self, progress: ProgressRecord) -> None:
        self._die_around(lambda: super(Mortal, self).progress(progress))

    def model(self, model: ModelRecord) -> None:
        self._die_around(lambda: super(Mortal, self).model(model))

    def tested(self, results: tuple[TestRecord, ...]) -> None:
        self._die_around(lambda: super(Mortal, self).tested(results))

    def rewind(self, point: Point | None) -> None:
        """Take back what lies beyond a checkpoint, as a database does."""
        at = Point(step=0, epoch=0, round=0, recorded_step=0, models=0) if point is None else point
        self.step_records = [row for row in self.step_records if row.step <= at.recorded_step]
        self.growth_records = [row for row in self.growth_records if row.round < at.round]
        self.progress_records = [row for row in self.progress_records if row.epoch <= at.epoch]
        del self.model_records[at.models :]
        self.test_records.clear()

    def _die_around(self, write: Callable[[], None]) -> None:
        dies = self.calls == self.dies_at
        self.calls += 1
        if dies and not self.written:
            raise Killed
        write()
        if dies:
            raise Killed


@dataclass
class Machine:
    """Runs attempt after attempt at one run, each in a folder of its own."""

    config: GrowConfig
    home: Path
    recorder: Mortal = field(default_factory=Mortal)
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
            directories=[],
            output=output,
            recorder=self.recorder,
            keeper=keeper,
            state=found.state,
            stop=stop,
        )
        return grow(self.config, around)


@pytest.fixture(scope="module", params=["vgg11", "resnet20"])
def unbroken(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[GrowConfig, Result, RunList]:
    config = VGG if request.param == "vgg11" else RESNET
    recorder = RunList()
    output = tmp_path_factory.mktemp(request.param)
    result = grow(config, Surroundings(directories=[], output=output, recorder=recorder))
    assert recorder.growth_records
    assert {step.phase for step in recorder.step_records} == {"grow", "tune", "prune"}
    return config, result, recorder


def expect_same(
    machine: Machine, found: Result, unbroken: tuple[GrowConfig, Result, RunList]
) -> None:
    """Compare everything but what a clock says."""
    _, result, path = unbroken
    mine = machine.recorder
    assert mine.layer_records == path.layer_records
    assert [replace(row, seconds=0.0) for row in mine.step_records] == [
        replace(row, seconds=0.0) for row in path.step_records
    ]
    assert mine.growth_records == path.growth_records
    assert mine.test_records == path.test_records == list(found.tests)
    members = zip(mine.model_records, path.model_records, strict=True)
    for ours, theirs in members:
        same: dict[str, Any] = {"latency_ms": 0.0, "checkpoint": Path()}
        assert replace(ours, **same) == replace(theirs, **same)
        weights, expected = load_file(ours.checkpoint), load_file(theirs.checkpoint)
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
    ends = [(each.end, each.steps, each.epochs, each.training_macs) for each in (found, result)]
    assert ends[0] == ends[1]


def run_to_its_end(machine: Machine, stop: Callable[[], bool]) -> Result:
    for _ in range(200):
        try:
            return machine.attempt(stop)
        except (Killed, Stopped):
            continue
    raise AssertionError("200 attempts must suffice")


@pytest.mark.parametrize("written", [False, True])
def test_a_kill_around_any_record_changes_nothing(
    tmp_path: Path, unbroken: tuple[GrowConfig, Result, RunList], *, written: bool
) -> None:
    """Attempts die at their first to sixth record in turn; the sixth lies beyond a checkpoint."""
    machine = Machine(unbroken[0], tmp_path, Mortal(written=written))
    deaths = 0
    while True:
        machine.recorder.calls, machine.recorder.dies_at = 0, deaths % 6
        try:
            found = machine.attempt()
        except Killed:
            deaths += 1
        else:
            break
        assert deaths < 200
    assert deaths >= 6
    expect_same(machine, found, unbroken)


@pytest.mark.parametrize("seed", range(2))
def test_kills_and_stops_between_any_two_steps_change_nothing(
    tmp_path: Path, unbroken: tuple[GrowConfig, Result, RunList], seed: int
) -> None:
    draw = random.Random(seed)  # noqa: S311 - where kills fall is no secret
    left = draw.randint(1, 25)
    how = []

    def stop() -> bool:
        nonlocal left
        left -= 1
        if left >= 0:
            return False
        left = draw.randint(1, 25)
        how.append(draw.choice(("kill", "stop")))
        if how[-1] == "kill":
            raise Killed
        return True

    machine = Machine(unbroken[0], tmp_path)
    found = run_to_its_end(machine, stop)
    assert how
    expect_same(machine, found, unbroken)


def test_a_stopped_run_goes_on_at_the_very_step(tmp_path: Path) -> None:
    machine = Machine(VGG, tmp_path, every=1000)
    asked = iter([False] * 27 + [True])
    with pytest.raises(Stopped):
        machine.attempt(lambda: next(asked))
    machine.attempt()
    assert machine.resumed_from == [0, 27]


def test_a_state_of_another_config_or_other_data_is_refused(tmp_path: Path) -> None:
    machine = Machine(VGG, tmp_path, every=1000)
    asked = iter([False, True])
    with pytest.raises(Stopped):
        machine.attempt(lambda: next(asked))
    machine.config = replace(VGG, optim=replace(VGG.optim, learning_rate=0.01))
    with pytest.raises(StateError, match="config"):
        machine.attempt()
    state = Keeper(tmp_path, FileLedger(tmp_path / "ledger.json"), every=1).last().state
    assert state is not None
    other = replace(state, about={**state.about, "data": [1, 2, 3]})
    around = Surroundings(directories=[], output=tmp_path, recorder=RunList(), state=other)
    with pytest.raises(StateError, match="data"):
        grow(VGG, around)
