"""Runs of the service's recipe `grow` on digits: how far widths agree, and how runs end."""

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from bench.health.rows import NetworkRow, RecipeRow
from slbi.nets import backbones
from slbi.nets.widths import Widths
from worker.training.config import (
    ComputeConfig,
    DataConfig,
    GrowConfig,
    GrowthConfig,
    OptimConfig,
    TuneConfig,
)
from worker.training.recipes.begin import targets
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.grow import grow
from worker.training.recipes.result import Result
from worker.training.recorder import RunList

PIXELS = 8
"""Side of an image of digits."""

BATCH = {"widths": 32, "ends": 64}
VALIDATION = {"widths": 0.5, "ends": 0.1}
"""Small batches and a large part held out: many steps a round for little compute."""

STARTS = (8, 16, 32)
SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One run to make."""

    part: str
    mode: str
    name: str
    backbone: str
    start: int
    seed: int
    growth: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Return the key of its row."""
        return f"{self.part} {self.mode} {self.name} {self.backbone} {self.start} {self.seed}"


ROUNDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "vgg11": {"max_macs": 600_000, "round_epochs": 10},
    "resnet20": {"max_macs": 5_500_000, "max_width": 64, "round_epochs": 4},
}
"""Backbone -> caps that allow every start more: about 48 and 34 filters in every group. Without a
width of its own a group of the ResNet could not become as wide as the largest start."""

TARGETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "resnet20": {"targets": ({"max_macs": 4_800_000}, {"max_macs": 6_000_000}), "max_width": 64},
    "vgg11": {"targets": ({"max_macs": 1_300_000}, {"max_macs": 3_900_000})},
}
"""Backbone -> targets that allow the largest start. The second of the VGG is 30 % of its standard,
where no group's share is less than the largest start; at the first, 10 %, that of one is. Of the
ResNet the largest start is more than the standard."""

SMALL: Final = {"targets": ({"max_macs": 1_200_000}, {"max_macs": 2_400_000})}
"""Targets below the standard of the ResNet, which allow the two smaller starts."""

COMPUTE = 25 * 10**9
"""Training multiply-accumulates of a run toward targets: about 5 s of one core."""


def for_widths() -> Iterator[Trial]:
    """Yield runs that differ in seed and start alone, by mode, name and backbone."""
    asked: list[tuple[str, str, str, Mapping[str, Any], tuple[int, ...]]] = [
        ("targets", "small targets", "resnet20", SMALL, STARTS[:2])
    ]
    asked += [("targets", "targets", name, growth, STARTS) for name, growth in TARGETS.items()]
    asked += [("rounds", "cap", name, growth, STARTS) for name, growth in ROUNDS.items()]
    for mode, name, backbone, growth, starts in asked:
        for start, seed in product(starts, SEEDS):
            yield Trial(
                part="widths",
                mode=mode,
                name=name,
                backbone=backbone,
                start=start,
                seed=seed,
                growth=growth if mode == "rounds" else {**growth, "max_training_macs": COMPUTE},
            )


def for_ends() -> Iterator[Trial]:
    """Yield twenty runs of different seeds, backbones and caps."""
    seed = 0
    for backbone in ("vgg11", "resnet20"):
        params, macs = _cost(backbone, 8)
        for name, start, growth in _caps(params, macs):
            yield Trial(
                part="ends",
                mode="targets" if "targets" in growth else "rounds",
                name=name,
                backbone=backbone,
                start=start,
                seed=seed,
                growth=growth,
            )
            seed += 1


def made(trial: Trial) -> RecipeRow:
    """Do a run and return its row."""
    config = GrowConfig(
        backbone=trial.backbone,
        data=DataConfig(dataset="digits", validation=VALIDATION[trial.part]),
        optim=OptimConfig(batch=BATCH[trial.part]),
        growth=GrowthConfig(start=trial.start, **trial.growth),
        tune=TuneConfig(epochs=1, pruned_epochs=1),
        compute=ComputeConfig(device="cpu", threads=1, seed=trial.seed),
    )
    began = time.process_time()
    path = RunList()
    with tempfile.TemporaryDirectory() as folder:
        around = Surroundings(directories=[], output=Path(folder) / "family", recorder=path)
        result = grow(config, around)
    return _row(trial, config, result, path, time.process_time() - began)


def _caps(params: int, macs: int) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield name, start and growth of runs that meet each cap, and some together.

    Args:
        params: of the backbone with 8 filters a group.
        macs: likewise of one image.
    """
    short = {"round_epochs": 1, "threshold": 0.2}
    step = 3 * 64 * macs
    yield "max_rounds", 8, {"max_rounds": 2, **short}
    yield "max_epochs", 8, {"max_epochs": 3, "round_epochs": 2, "threshold": 0.2}
    yield "max_macs", 8, {"max_macs": 3 * macs, **short}
    yield "max_params", 8, {"max_params": 3 * params, **short}
    yield "max_training_macs", 8, {"max_training_macs": 300 * step, **short}
    yield (
        "all caps",
        4,
        {
            "max_rounds": 6,
            "max_epochs": 6,
            "max_macs": 2 * macs,
            "max_params": 2 * params,
            "max_training_macs": 200 * step,
            **short,
        },
    )
    yield "default threshold", 4, {"max_macs": 3 * macs, "round_epochs": 1}
    yield (
        "targets of max_macs",
        6,
        {
            "targets": ({"max_macs": macs}, {"max_macs": 2 * macs}),
            "max_training_macs": 200 * step,
        },
    )
    yield (
        "targets of max_params",
        6,
        {
            "targets": ({"max_params": params}, {"max_params": 2 * params}),
            "max_training_macs": 200 * step,
        },
    )
    yield (
        "targets of both, by gain",
        4,
        {
            "targets": (
                {"max_macs": macs, "max_params": params},
                {"max_macs": 3 * macs, "max_params": 2 * params},
            ),
            "max_training_macs": 200 * step,
            "where": "gain",
        },
    )


def _row(
    trial: Trial, config: GrowConfig, result: Result, path: RunList, cpu_seconds: float
) -> RecipeRow:
    growing = [step for step in path.step_records if step.phase == "grow"]
    hollow = backbones.build(trial.backbone, in_channels=1, size=PIXELS, classes=10, device="meta")
    return RecipeRow(
        part=trial.part,
        mode=trial.mode,
        name=trial.name,
        backbone=trial.backbone,
        start=trial.start,
        seed=trial.seed,
        growth=dict(trial.growth),
        limits=tuple(target.limits for target in targets(config.growth, hollow)),
        end=result.end,
        rounds=1 + max(step.round for step in growing),
        growth_epochs=len(growing),
        training_macs=result.training_macs,
        members=tuple(
            NetworkRow(
                kind=member.kind,
                origin=member.origin,
                widths=dict(member.widths),
                params=member.params,
                macs=member.macs,
            )
            for member in result.members
        ),
        cpu_seconds=round(cpu_seconds, 1),
    )


def _cost(backbone: str, width: int) -> tuple[int, int]:
    """Return parameters and multiply-accumulates of a backbone of one width."""
    net = backbones.build(backbone, in_channels=1, size=PIXELS, classes=10, device="meta")
    return net.cost(Widths(dict.fromkeys(net.widths, width)))
