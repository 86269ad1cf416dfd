import pytest
import torch

from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from slbi.pruning.nested import Nested
from slbi.pruning.rank import filter_norms, rank_together
from slbi.pruning.slice import slice_filters


def _net(name: str) -> Backbone:
    widths = Widths(dict.fromkeys(backbones.groups(name, 8), 8))
    generator = torch.Generator().manual_seed(1)
    return backbones.build(name, widths, in_channels=1, size=8, classes=3, generator=generator)


def test_each_mask_lies_within_the_one_before() -> None:
    net = _net("vgg11")
    nested = Nested(net=net, ranks=rank_together(filter_norms(net), {}, "norm"), multiple=4)
    assert nested.last == sum(net.widths.values()) - len(net.widths)
    before = nested.keep(0)
    for gone in range(0, nested.last + 1, 7):
        keep = nested.keep(gone)
        assert all(bool((before[group] | ~keep[group]).all()) for group in keep)
        before = keep


@pytest.mark.parametrize("name", ["vgg11", "resnet20"])
def test_no_group_becomes_wider_on_the_way_and_widths_are_those_of_the_slice(name: str) -> None:
    net = _net(name)
    ranks = rank_together(filter_norms(net), {}, "norm")
    nested = Nested(net=net, ranks=ranks, multiple=4, min_width=2)
    before = nested.widths(0)
    assert before == net.widths
    for gone in range(nested.last + 1):
        widths = nested.widths(gone)
        assert all(widths[group] <= before[group] for group in widths)
        before = widths
    narrow = slice_filters(net, None, nested.keep(nested.last)).net
    assert narrow.widths == before
    assert narrow.widths["stage1" if name == "resnet20" else "conv1"] == 4
