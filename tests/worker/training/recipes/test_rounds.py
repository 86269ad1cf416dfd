"""Whole runs of growth under width policies; the rest of a run's tests are in test_grow.py."""

import math
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.runs import Alone, alone
from worker.training.config import (
    ComputeConfig,
    DataConfig,
    GrowConfig,
    GrowthConfig,
    OptimConfig,
    TuneConfig,
)

IDLE = OptimConfig(batch=128, mu=1e6, learning_rate=1e-6)
"""Nothing is learnt and nothing enters a support."""


EARLY = OptimConfig(batch=128, mu=0.4)
"""Filters enter within a round of two epochs."""


def _grown(
    output: Path,
    backbone: str = "vgg11",
    optim: OptimConfig = EARLY,
    **growth: Any,  # noqa: ANN401 - settings
) -> Alone:
    """Return a short run in which most groups are due after a round."""
    config = GrowConfig(
        backbone=backbone,
        data=DataConfig(dataset="digits"),
        optim=optim,
        growth=GrowthConfig(**{"round_epochs": 2, "max_rounds": 3, "threshold": 0.1, **growth}),
        tune=TuneConfig(epochs=0, pruned_epochs=0),
        compute=ComputeConfig(device="cpu", threads=1),
    )
    return alone(config, output)


def test_excluded_groups_neither_grow_nor_are_cut_and_the_path_says_so(tmp_path: Path) -> None:
    made = _grown(tmp_path, exclude=["conv[12]", "conv8"])
    growable = {layer.name: layer.growable for layer in made.path.layer_records}
    assert [name for name, may in growable.items() if not may] == ["conv1", "conv2", "conv8"]
    for member in made.result.members:
        assert (member.widths["conv1"], member.widths["conv2"], member.widths["conv8"]) == (8, 8, 8)
    assert made.path.growth_records
    assert {record.layer for record in made.path.growth_records} <= {2, 3, 4, 5, 6}


def test_if_only_excluded_groups_are_full_growth_ends_with_that_reason(tmp_path: Path) -> None:
    made = _grown(tmp_path, exclude=["*"])
    assert "conv8: it is excluded" in made.result.end
    assert made.path.growth_records == []


@pytest.mark.parametrize("backbone", ["vgg11", "resnet20"])
def test_every_member_has_multiples_and_no_less_than_the_least_widths(
    tmp_path: Path, backbone: str
) -> None:
    made = _grown(tmp_path, backbone, start=6, multiple=4, min_width=8, minimum=3, threshold=0.3)
    assert any(member.kind == "pruned" for member in made.result.members)
    for member in made.result.members:
        assert all(width >= 8 for width in member.widths.values())
        assert all(width % 4 == 0 for width in member.widths.values())


def test_the_groups_of_a_stage_grow_to_one_width_by_their_own_settings(tmp_path: Path) -> None:
    stages = {
        "conv[3-6]": {"together": True, "minimum": 5, "ratio": 1.0, "max_width": 20},
        "conv1": {"start": 4, "max_width": 4},
    }
    made = _grown(tmp_path, stages=stages)
    for member in made.result.members:
        if member.kind == "grown":
            team = {member.widths[f"conv{number}"] for number in (3, 4, 5, 6)}
            assert len(team) == 1
            assert team <= {8, 13, 18, 20}
            assert member.widths["conv1"] == 4
    records = [record for record in made.path.growth_records if record.layer in {2, 3, 4, 5}]
    assert records
    for number in {record.round for record in records}:
        fills = {record.fill for record in records if record.round == number}
        assert len(fills) == 1


def test_a_cap_on_latency_that_nothing_reaches_changes_nothing(tmp_path: Path) -> None:
    capped = _grown(tmp_path / "capped", max_latency_ms=1e6)
    free = _grown(tmp_path / "free")
    assert capped.path.growth_records == free.path.growth_records != []


def test_a_cap_on_latency_that_the_first_network_passes_ends_growth_by_name(tmp_path: Path) -> None:
    made = _grown(tmp_path, max_latency_ms=1e-6)
    assert made.path.growth_records == []
    assert "ms would pass max_latency_ms 1e-06" in made.result.end


def test_a_stage_that_the_network_does_not_have_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=r"stages must name groups of the backbone, .* got fc\*"):
        _grown(tmp_path / "family", stages={"fc*": {"ratio": 2.0}})
    assert not (tmp_path / "family").exists()


def _epochs(made: Alone) -> list[int]:
    """Return how many epochs each round took."""
    return [len(list(steps)) for _, steps in groupby(made.path.step_records, lambda s: s.round)]


@pytest.mark.parametrize("patience", [1, 2])
def test_at_a_plateau_all_groups_are_widened_and_a_fruitless_round_ends_growth(
    tmp_path: Path, patience: int
) -> None:
    made = _grown(tmp_path, optim=IDLE, when="plateau", patience=patience, round_epochs=9)
    assert _epochs(made) == [patience + 1] * 2
    assert {record.layer for record in made.path.growth_records} == set(range(8))
    assert {record.reason for record in made.path.growth_records} == {
        "validation loss at a plateau; fill 0.00"
    }
    assert made.result.end.startswith("plateau: round 1 brought the validation loss to 2.")


def test_without_a_plateau_a_round_has_its_epochs_and_all_groups_are_widened(
    tmp_path: Path,
) -> None:
    made = _grown(tmp_path, optim=IDLE, when="plateau", patience=2, max_rounds=2)
    assert _epochs(made) == [2, 2]
    assert len(made.path.growth_records) == 8
    assert all("no plateau in 2 epochs" in record.reason for record in made.path.growth_records)


def test_a_plateau_widens_no_group_that_is_closed_or_at_its_greatest_width(tmp_path: Path) -> None:
    stages = {"conv[1-6]": {"max_width": 8}}
    made = _grown(
        tmp_path / "some", optim=IDLE, when="plateau", patience=1, exclude=["conv7"], stages=stages
    )
    assert [record.layer for record in made.path.growth_records] == [7]
    none = _grown(tmp_path / "none", optim=IDLE, when="plateau", patience=1, max_width=8)
    assert none.path.growth_records == []
    assert none.result.end == "every layer is closed or at its greatest width"


def test_with_both_a_plateau_ends_the_round_and_only_full_groups_are_widened(
    tmp_path: Path,
) -> None:
    empty = _grown(tmp_path / "empty", optim=IDLE, when="both", patience=1, round_epochs=9)
    assert _epochs(empty) == [2]
    assert empty.result.end == "no layer's fill reached its threshold"
    made = _grown(tmp_path / "full", when="both", patience=1)
    assert made.path.growth_records
    for record in made.path.growth_records:
        assert record.fill >= record.threshold
        assert record.reason.endswith(f"fill {record.fill:.2f} reached 0.10")


@pytest.mark.parametrize("max_epochs", [None, 5])
def test_a_cosine_falls_over_all_rounds_together_and_widens_in_each(
    tmp_path: Path, max_epochs: int | None
) -> None:
    made = _grown(
        tmp_path,
        optim=OptimConfig(batch=128),
        schedule="cosine",
        pull=0.1,
        max_epochs=max_epochs,
    )
    rates = [step.learning_rate for step in made.path.step_records]
    whole = 10 * (max_epochs or 6)
    expected = [
        0.05 * (1 + math.cos(math.pi * (10 * epoch + 9) / whole)) / 2
        for epoch in range(max_epochs or 6)
    ]
    assert rates == pytest.approx(expected)
    assert {record.round for record in made.path.growth_records} == {0, 1}


def test_new_filters_learn_at_their_own_rate_and_the_first_round_is_the_same(
    tmp_path: Path,
) -> None:
    losses = {}
    for factor in (0.1, 1.0, 2.0):
        made = _grown(tmp_path / str(factor), new_rate=factor, max_rounds=2)
        losses[factor] = [step.loss for step in made.path.step_records]
    same = losses[1.0]
    for factor in (0.1, 2.0):
        assert losses[factor][:2] == same[:2]
        assert losses[factor][2] != same[2]
