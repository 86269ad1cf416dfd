from dataclasses import replace

import pytest

from slbi.nets.backbone import Backbone
from slbi.nets.coupling import Coupling
from slbi.nets.vgg import Vgg
from slbi.nets.widths import Widths
from worker.training.config import GrowthConfig, TuneConfig
from worker.training.recipes.begin import (
    check_start,
    closed,
    path_layers,
    start_widths,
    thresholds,
    widest,
)
from worker.training.recipes.budget import Budget

GROUPS = ("conv1", "conv2")


def test_one_start_width_serves_all_groups_and_a_table_each_its_own() -> None:
    assert start_widths(GrowthConfig(start=9), GROUPS) == Widths({"conv1": 9, "conv2": 9})
    table = GrowthConfig(start={"conv2": 3, "conv1": 4})
    assert start_widths(table, GROUPS) == Widths({"conv1": 4, "conv2": 3})


@pytest.mark.parametrize(
    ("start", "told"),
    [({"conv1": 8}, "conv2 missing"), ({"conv1": 8, "conv2": 8, "fc": 1}, "got fc")],
)
def test_a_table_of_start_widths_names_exactly_the_groups(start: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        start_widths(GrowthConfig(start=start), GROUPS)


def test_a_table_of_thresholds_may_leave_groups_at_the_default() -> None:
    table = GrowthConfig(threshold={"conv2": 0.5})
    assert thresholds(table, GROUPS) == {"conv1": 0.8, "conv2": 0.5}
    with pytest.raises(ValueError, match="got fc"):
        thresholds(GrowthConfig(threshold={"fc": 0.5}), GROUPS)


def test_no_group_grows_beyond_its_standard_or_the_cap_yet_all_may_start_wider() -> None:
    standard, start = Widths({"conv1": 6, "conv2": 16}), Widths({"conv1": 8, "conv2": 8})
    assert widest(GrowthConfig(), standard, start) == {"conv1": 8, "conv2": 16}
    assert widest(GrowthConfig(max_width=12), standard, start) == {"conv1": 12, "conv2": 12}


def test_least_widths_and_stages_shape_the_start_and_the_end_of_growth() -> None:
    config = GrowthConfig(
        start=4, min_width={"conv1": 6}, stages={"conv2": {"start": 9, "max_width": 12}}
    )
    start = start_widths(config, GROUPS)
    assert start == Widths({"conv1": 6, "conv2": 9})
    standard = Widths({"conv1": 32, "conv2": 64})
    assert widest(config, standard, start) == {"conv1": 32, "conv2": 12}


def test_groups_that_grow_together_must_have_one_threshold() -> None:
    stages = {"conv*": {"together": True}}
    assert thresholds(GrowthConfig(stages=stages), GROUPS) == {"conv1": 0.8, "conv2": 0.8}
    with pytest.raises(ValueError, match=r"one threshold, got conv1 0\.8, conv2 0\.5"):
        thresholds(GrowthConfig(threshold={"conv2": 0.5}, stages=stages), GROUPS)


class Blended(Vgg):
    """A VGG whose second group some norm takes a statistic over."""

    def coupling(self) -> Coupling:
        """Return what couples it, that norm included."""
        found = super().coupling()
        groups = tuple(
            replace(group, blended="a norm") if group.name == "conv2" else group
            for group in found.groups
        )
        return replace(found, groups=groups)


def test_excluded_groups_and_those_under_a_norm_of_all_filters_are_closed_with_the_reason(
    net: Backbone,
) -> None:
    blended = Blended(net.name, net.widths, in_channels=1, size=8, classes=10)
    assert closed(GrowthConfig(exclude=["conv[78]"]), blended) == {
        "conv2": "a norm",
        "conv7": "it is excluded",
        "conv8": "it is excluded",
    }
    growable = [layer.growable for layer in path_layers(blended, {"conv2"})]
    assert growable == [True, False, *[True] * 6]


def test_the_path_follows_every_group_in_order(net: Backbone) -> None:
    layers = path_layers(net)
    assert [layer.name for layer in layers] == list(net.widths)
    assert [layer.index for layer in layers] == list(range(len(layers)))


@pytest.mark.parametrize("cap", ["max_params", "max_macs", "max_training_macs"])
def test_a_start_beyond_a_cap_is_refused_by_the_caps_name(net: Backbone, cap: str) -> None:
    growth = GrowthConfig(**{cap: 10})  # type: ignore[arg-type] # every cap takes a number
    budget = Budget(growth=growth, tune=TuneConfig(), images=100, measured=100)
    with pytest.raises(ValueError, match=cap):
        check_start(growth, net, budget)
