from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from slbi.pruning.keep import settled
from slbi.pruning.refill import refilled
from slbi.pruning.slice import slice_filters


def _net(name: str, width: int) -> Backbone:
    groups = backbones.groups(name, 28)
    net = backbones.build(
        name,
        Widths(dict.fromkeys(groups, width)),
        in_channels=1,
        size=28,
        classes=3,
        generator=torch.Generator().manual_seed(0),
    )
    assert isinstance(net, Backbone)
    return net


def _masks(net: Backbone, seed: int, share: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    ranks = {group: torch.rand(width, generator=draw) for group, width in net.widths.items()}
    return {group: values > share for group, values in ranks.items()}, ranks


@pytest.mark.parametrize("name", ["vgg11", "resnet20"])
@given(seed=st.integers(0, 99), share=st.floats(0, 1), multiple=st.sampled_from([1, 3, 4, 8]))
@settings(max_examples=15, deadline=None)
def test_every_width_is_a_multiple_or_whole_and_what_was_kept_stays(
    name: str, seed: int, share: float, multiple: int
) -> None:
    net = _net(name, 10)
    keep, ranks = _masks(net, seed, share)
    filled = refilled(net, keep, ranks, multiple=multiple, min_width=2)
    widths = {group: int(mask.sum()) for group, mask in settled(net, filled).positions.items()}
    assert all(width == 10 or width % multiple == 0 for width in widths.values())
    assert min(widths.values()) >= 2
    assert all(bool((filled[group] | ~keep[group]).all()) for group in keep)


def test_the_best_of_those_that_would_go_make_up_what_is_lacking() -> None:
    net = _net("vgg11", 8)
    ranks = {"conv1": torch.tensor([7.0, 6, 5, 4, 3, 2, 1, 0])}
    keep = {"conv1": torch.tensor([0, 0, 0, 0, 0, 0, 1, 1], dtype=torch.bool)}
    filled = refilled(net, keep, ranks, multiple=4)
    assert filled["conv1"].tolist() == [True, True, False, False, False, False, True, True]
    assert set(filled) == {"conv1"}


def test_nothing_asked_changes_nothing() -> None:
    net = _net("resnet20", 6)
    keep, ranks = _masks(net, 3, 0.4)
    filled = refilled(net, keep, ranks)
    assert all(torch.equal(filled[group], keep[group]) for group in keep)


def test_a_table_of_least_widths_leaves_other_groups_at_one() -> None:
    net = _net("vgg11", 8)
    keep = {group: torch.zeros(8, dtype=torch.bool) for group in net.widths}
    ranks = {group: torch.arange(8.0) for group in net.widths}
    filled = refilled(net, keep, ranks, min_width={"conv2": 3})
    assert slice_filters(net, None, filled).net.widths["conv2"] == 3
    assert [int(mask.sum()) for mask in filled.values()] == [1, 3, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"multiple": 0}, "multiple must be >= 1, got 0"),
        ({"min_width": {"conv1": 0}}, "min_width of conv1 must be >= 1, got 0"),
        ({"ranks": {}}, "must have ranks, 'conv1' has none"),
    ],
)
def test_what_makes_no_sense_is_refused(setting: dict[str, Any], told: str) -> None:
    net = _net("vgg11", 4)
    given_ranks = {"conv1": torch.arange(4.0)}
    more = {"ranks": given_ranks, **setting}
    with pytest.raises(ValueError, match=told):
        refilled(net, {"conv1": torch.ones(4, dtype=torch.bool)}, **more)
