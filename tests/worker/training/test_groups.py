from typing import Any

import pytest

from worker.training.config import GrowthConfig
from worker.training.groups import by_group, members, staged, teams
from worker.training.plans import PruningConfig

GROUPS = ("stem", "stage1", "stage1.block1", "stage1.block2", "stage2")


def test_names_and_patterns_mean_groups_in_their_order() -> None:
    assert members("exclude", ["stage1.*", "stem"], GROUPS) == (
        "stem",
        "stage1.block1",
        "stage1.block2",
    )
    assert members("exclude", [], GROUPS) == ()
    with pytest.raises(ValueError, match=r"exclude must name groups .*stage2; got stage3\*"):
        members("exclude", ["stem", "stage3*"], GROUPS)


def test_a_name_comes_before_a_pattern_setting_by_setting() -> None:
    own = staged({"stage1": {"ratio": 3}, "stage1*": {"ratio": 2, "minimum": 5}}, GROUPS)
    assert own["stage1"] == {"ratio": 3, "minimum": 5}
    assert own["stage1.block1"] == {"ratio": 2, "minimum": 5}
    assert own["stem"] == {}


def test_two_patterns_for_one_group_are_refused() -> None:
    with pytest.raises(ValueError, match=r"stage1 is in stage1\* and stage\?"):
        staged({"stage1*": {"ratio": 2}, "stage?": {"ratio": 3}}, GROUPS)


def test_a_table_comes_before_a_stage_and_a_stage_before_what_holds_for_all() -> None:
    config = GrowthConfig(threshold=0.9, stages={"stage1*": {"threshold": 0.6}})
    told = by_group("threshold", config.threshold, config, GROUPS)
    assert list(told.values()) == [0.9, 0.6, 0.6, 0.6, 0.9]
    table = {"stage1": 0.5}
    config = GrowthConfig(threshold=table, stages={"stage1*": {"threshold": 0.6}})
    told = by_group("threshold", table, config, GROUPS, default=0.8)
    assert list(told.values()) == [0.8, 0.5, 0.6, 0.6, 0.8]


def test_only_groups_of_a_stage_that_are_together_are_a_team() -> None:
    stages: dict[str, dict[str, Any]] = {
        "stage1*": {"together": True},
        "stage1": {"together": False},
        "stem": {"together": True},
        "stage2": {"ratio": 2},
    }
    assert teams(stages, GROUPS) == (("stage1.block1", "stage1.block2"),)
    assert teams(None, GROUPS) == ()


@pytest.mark.parametrize(
    ("section", "settings", "told"),
    [
        (GrowthConfig, {"min_width": 0}, "min_width must be in .*got 0"),
        (GrowthConfig, {"min_width": {"a": 0.5}}, "min_width.a must be a whole number, got 0.5"),
        (GrowthConfig, {"exclude": "conv1"}, "exclude must be a list of groups, got 'conv1'"),
        (GrowthConfig, {"stages": {"a*": {}}}, r"stages.a\* must set some of start, .*got none"),
        (GrowthConfig, {"stages": {"a": {"percent": 5}}}, "stages.a must set some of .*percent"),
        (GrowthConfig, {"stages": {"a": {"threshold": 2}}}, "stages.a.threshold must be in"),
        (GrowthConfig, {"stages": {"a": {"together": 1}}}, "a.together must be true or false"),
        (GrowthConfig, {"stages": {"a": {"ratio": 0.5}}}, "stages.a.ratio must be in"),
        (PruningConfig, {"stages": {"a": {"percent": 101}}}, "stages.a.percent must be in"),
        (PruningConfig, {"percent": 5, "multiple": 0}, "multiple must be in .*got 0"),
        (PruningConfig, {"max_latency_ms": 0.0}, "max_latency_ms must be in .*got 0.0"),
        (PruningConfig, {"max_latency_ms": 1.0, "slice": False}, "max_latency_ms needs slice"),
        (PruningConfig, {"max_latency_ms": 1.0, "percent": 5}, "either .* got several"),
    ],
)
def test_what_no_network_allows_is_refused_by_name(
    section: type, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        section(**settings)
