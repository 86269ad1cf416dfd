"""A run that is killed or stopped, however often, ends as the one that was left alone."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.runs import Alone, Machine, Mortal, alone, expect_same
from worker.training.config import (
    ComputeConfig,
    DataConfig,
    GrowConfig,
    GrowthConfig,
    OptimConfig,
    TuneConfig,
)
from worker.training.epoch import Stopped
from worker.training.keeper import FileLedger, Keeper
from worker.training.kinds import run
from worker.training.plans import (
    MaskConfig,
    PruneConfig,
    PruningConfig,
    Source,
    TicketConfig,
    TrainConfig,
    TrainingConfig,
    TwinConfig,
    WeightsConfig,
)
from worker.training.recipes.conduct import Surroundings
from worker.training.recorder import RunList
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

KNOBS = replace(
    VGG,
    growth=replace(
        VGG.growth,
        when="both",
        patience=1,
        round_epochs=4,
        new_rate=0.5,
        schedule="cosine",
        pull=0.1,
        threshold=0.1,
    ),
    optim=replace(VGG.optim, mu="auto"),
)
"""Rounds of three, two and four epochs, new filters at half the rate, mu of every round's own."""

TARGETS = replace(
    VGG,
    growth=GrowthConfig(
        targets=({"share": 0.003}, {"share": 0.006}),
        max_training_macs=1_500_000_000,
        new_rate=2.0,
    ),
)
"""Two targets with a round each, some legs of a step or two more than an epoch."""

FAR = replace(
    VGG,
    optim=replace(VGG.optim, batch=32),
    growth=GrowthConfig(targets=({"share": 0.08},), max_training_macs=2_000_000_000),
)
"""A target that so little compute does not train, and a station before it."""

SAME: dict[str, Any] = {
    "backbone": "vgg11",
    "data": DataConfig(dataset="digits"),
    "optim": OptimConfig(batch=128, mu=0.5, momentum=0.9, weight_decay=1e-3),
    "compute": ComputeConfig(device="cpu", threads=1),
}
TRAIN = TrainConfig(
    **SAME,
    widths=5,
    twin=TwinConfig(structure="mixed", threshold=1.0, weight_threshold=1.0),
    train=TrainingConfig(epochs=2, drops=(1,)),
)
WEIGHTS = WeightsConfig(
    **SAME,
    widths=4,
    train=TrainingConfig(epochs=1),
    finetune=TrainingConfig(epochs=1, learning_rate=0.01),
    retrain=TrainingConfig(epochs=1),
)
TICKET = TicketConfig(
    **SAME,
    widths=4,
    twin=TwinConfig(structure="mixed", threshold=1.0, weight_threshold=1.0),
    train=TrainingConfig(epochs=4),
    mask=MaskConfig(stable=0.05, patience=1, rewind=1),
    retrain=TrainingConfig(epochs=1, schedule="cosine"),
    transfer_to="stripes",
)
CONFIGS = {
    "grow vgg": VGG,
    "grow resnet": RESNET,
    "grow, all knobs": KNOBS,
    "grow to targets": TARGETS,
    "grow to a far target": FAR,
    "train": TRAIN,
    "weights": WEIGHTS,
    "ticket": TICKET,
}
PRUNINGS = {
    "prune, sliced": PruningConfig(order="lexicographic", max_macs=6000),
    "prune, masked": PruningConfig(
        percent={"conv2": 50, "conv8": 30, "classifier.weight": 60}, slice=False
    ),
}


@dataclass(frozen=True)
class Unbroken:
    """Runs that nothing disturbed, each made once."""

    home: Path
    directory: Path

    def __call__(self, name: str) -> Alone:
        return _made(self, name)

    def config(self, name: str) -> Any:  # noqa: ANN401 -- each kind has its own
        if name in CONFIGS:
            return CONFIGS[name]
        trained = self("train")
        source = Source(
            checkpoint=trained.member("W").checkpoint, order=trained.file("order.safetensors")
        )
        finetune = TrainingConfig(epochs=2, schedule="cosine")
        return PruneConfig(**SAME, source=source, pruning=PRUNINGS[name], finetune=finetune)


@cache
def _made(unbroken: Unbroken, name: str) -> Alone:
    return alone(unbroken.config(name), unbroken.home / name, [unbroken.directory])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, directory: Path) -> Unbroken:
    return Unbroken(tmp_path_factory.mktemp("unbroken"), directory)


PHASES = {
    "grow vgg": {"grow", "tune", "prune"},
    "grow resnet": {"grow", "tune", "prune"},
    "grow, all knobs": {"grow", "tune", "prune"},
    "grow to targets": {"grow", "anneal"},
    "grow to a far target": {"grow", "anneal"},
    "train": {"train"},
    "weights": {"train", "finetune", "retrain"},
    "ticket": {"train", "ticket", "random", "dense"},
    "prune, sliced": {"prune"},
    "prune, masked": {"prune"},
}
"""What each kind goes through, so that a death falls into each."""


def test_one_of_them_halts_on_its_way(unbroken: Unbroken) -> None:
    origins = [member.origin for member in unbroken("grow to a far target").result.members]
    assert origins[0].startswith("station before target 1 of 1")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "grow resnet" else [])
        for name in PHASES
    ],
)
@pytest.mark.parametrize("written", [False, True])
def test_a_kill_around_any_record_changes_nothing(
    tmp_path: Path, unbroken: Unbroken, name: str, *, written: bool
) -> None:
    left = unbroken(name)
    assert {step.phase for step in left.path.step_records} == PHASES[name]
    machine = Machine(left.config, tmp_path, left.directories, Mortal(written=written))
    found = machine.dying_around_records()
    assert len(machine.recorder.deaths) == machine.attempts - 1 > 2 * left.result.epochs
    expect_same(machine, found, left)


@pytest.mark.parametrize("name", PHASES)
@pytest.mark.parametrize("seed", range(2))
def test_kills_and_stops_between_any_two_steps_change_nothing(
    tmp_path: Path, unbroken: Unbroken, name: str, seed: int
) -> None:
    left = unbroken(name)
    machine = Machine(left.config, tmp_path, left.directories)
    expect_same(machine, machine.dying_between_steps(seed, longest=15), left)


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
        run(VGG, around)
