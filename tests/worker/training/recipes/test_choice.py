"""What a `prune` run would leave, of networks that nothing trained and no clock times."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from slbi.nets.backbone import Backbone
from slbi.nets.coupling import Coupling
from slbi.nets.vgg import Vgg
from slbi.nets.widths import Widths
from slbi.pruning.rank import filter_norms
from slbi.pruning.slice import slice_filters
from worker.training import backbones
from worker.training.count import Stopwatch, Timing
from worker.training.device import Compute
from worker.training.plans import PruningConfig
from worker.training.recipes.choice import Chosen, choose
from worker.training.recipes.source import Started

GROUPS = tuple(f"conv{number}" for number in range(1, 9))


class Counted(Stopwatch):
    """Takes a network to need a microsecond for every thousand multiply-accumulates."""

    def __call__(self, nets: Sequence[Backbone], *, thorough: bool) -> Sequence[float]:
        times = [net.cost()[1] / 1e6 for net in nets]
        timings = [Timing(ms=ms, low_ms=ms, high_ms=ms) for ms in times]
        self.reference = timings[0]
        if thorough:
            self.last = timings[-1]
        return times


def _started(name: str = "vgg11", width: int = 16) -> Started:
    net = backbones.build(
        name,
        Widths(dict.fromkeys(backbones.groups(name, 32), width)),
        in_channels=3,
        size=32,
        classes=5,
        generator=torch.Generator().manual_seed(0),
    )
    return Started(net=net, entry={})


def _choose(started: Started, **pruning: Any) -> Chosen:  # noqa: ANN401 - settings
    compute = Compute(device=torch.device("cpu"), precision="float32")
    return choose(started, PruningConfig(order="norm", **pruning), Counted(compute))


def _left(chosen: Chosen) -> dict[str, int]:
    return {group: int(kept.sum()) for group, kept in chosen.filters.items()}


def test_percent_is_rounded_up_to_the_multiple_by_the_largest_of_those_that_went() -> None:
    started = _started()
    chosen = _choose(started, percent=70, multiple=8)
    assert _left(chosen) == dict.fromkeys(GROUPS, 8)
    norms = filter_norms(started.net)
    for group, kept in chosen.filters.items():
        assert norms[group][kept].min() > norms[group][~kept].max()


def test_least_widths_exclusion_and_stages_hold_together() -> None:
    chosen = _choose(
        _started(),
        percent=75,
        exclude=["conv[78]"],
        min_width={"conv1": 10},
        stages={"conv[12]": {"percent": 50}, "conv3": {"min_width": 7, "percent": 90}},
    )
    assert _left(chosen) == {
        "conv1": 10, "conv2": 8, "conv3": 7, "conv4": 4, "conv5": 4, "conv6": 4,
    }  # fmt: skip


def test_a_stage_alone_says_how_much_goes_and_the_rest_stays_whole() -> None:
    chosen = _choose(_started(), stages={"conv1": {"percent": 50}})
    assert _left(chosen) == {"conv1": 8}


@pytest.mark.parametrize("name", ["vgg11", "resnet20", "resnet18"])
def test_a_budget_is_met_on_multiples_and_what_is_excluded_is_whole(name: str) -> None:
    started = _started(name)
    group = next(iter(started.net.widths))
    cap = int(0.6 * started.net.cost()[1])
    chosen = _choose(started, max_macs=cap, multiple=4, exclude=[group])
    sliced = slice_filters(started.net, None, chosen.filters).net
    assert sliced.cost()[1] <= cap
    assert sliced.widths[group] == 16
    assert all(width % 4 == 0 for width in sliced.widths.values())
    assert group not in chosen.filters


@pytest.mark.parametrize("name", ["vgg11", "resnet20", "resnet18"])
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_a_latency_is_met_and_told_with_all_that_belongs_to_it(name: str, share: float) -> None:
    started = _started(name)
    dense = started.net.cost()[1] / 1e6
    chosen = _choose(started, max_latency_ms=share * dense)
    told = chosen.latency
    assert told is not None
    reached = slice_filters(started.net, None, chosen.filters).net.cost()[1] / 1e6
    assert told["reached_ms"] == reached
    assert 0.95 * share * dense <= reached <= share * dense
    assert told["met"]
    assert told["dense_ms"] == dense
    assert told["reached_quartiles_ms"] == [reached, reached]
    assert (told["device"], told["threads"]) == ("cpu", torch.get_num_threads())


def test_a_latency_between_two_steps_is_told_to_be_missed_and_why() -> None:
    started = _started()
    dense = started.net.cost()[1] / 1e6
    chosen = _choose(started, max_latency_ms=0.99 * dense, multiple=8, exclude=["conv[3-8]"])
    assert chosen.latency is not None  # the two groups can only be halved
    assert chosen.latency["reached_ms"] < 0.95 * 0.99 * dense
    assert not chosen.latency["met"]
    assert chosen.latency["why"].endswith(f"take {dense:.3g} ms")


def test_a_network_that_is_fast_enough_stays_whole_and_says_so() -> None:
    started = _started()
    chosen = _choose(started, max_latency_ms=100 * started.net.cost()[1] / 1e6)
    assert all(bool(kept.all()) for kept in chosen.filters.values())
    assert chosen.latency is not None
    assert "nothing went" in chosen.latency["why"]


def test_a_latency_that_no_width_reaches_is_refused_with_the_least() -> None:
    with pytest.raises(ValueError, match=r"max_latency_ms must be at least .* got 1e-09"):
        _choose(_started(), max_latency_ms=1e-9)


@pytest.mark.parametrize(
    ("pruning", "told"),
    [
        ({"percent": 5, "exclude": ["conv9*"]}, r"exclude must name groups .*; got conv9\*"),
        ({"percent": 5, "min_width": {"fc": 2}}, "min_width must name groups .*; got fc"),
        ({"stages": {"x": {"percent": 5}}}, "stages must name groups .*; got x"),
        ({"percent": {"fc": 2}}, "percent must name groups or linear weights, .*; got fc"),
    ],
)
def test_groups_that_there_are_not_are_refused_with_those_that_there_are(
    pruning: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        _choose(_started(), **pruning)


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


def test_a_group_under_a_norm_of_all_its_filters_stays_whole_and_cannot_be_named() -> None:
    plain = _started().net
    net = Blended(plain.name, plain.widths, in_channels=3, size=32, classes=5)
    chosen = _choose(Started(net=net, entry={}), percent=50)
    assert "conv2" not in chosen.filters
    with pytest.raises(ValueError, match="conv2 cannot be pruned: a norm"):
        _choose(Started(net=net, entry={}), percent={"conv2": 50})
