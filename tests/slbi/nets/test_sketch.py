import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from slbi.nets import backbones
from slbi.nets.sketch import side
from slbi.nets.widths import Widths

SIZES = {"lenet5": (28, 32)}


@pytest.mark.parametrize("name", backbones.names())
@settings(max_examples=5, deadline=None, derandomize=True)
@given(data=st.data())
def test_the_sketch_counts_what_torch_counts(name: str, data: st.DataObject) -> None:
    size = data.draw(st.sampled_from(SIZES.get(name, (8, 13, 28, 32, 47, 64))))
    groups = backbones.groups(name, size)
    widths = Widths(data.draw(st.fixed_dictionaries({g: st.integers(1, 40) for g in groups})))
    channels, classes = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 20))
    net = backbones.build(
        name, widths, in_channels=channels, size=size, classes=classes, device="meta"
    ).eval()
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, channels, size, size, device="meta"))
    params, macs = net.cost()
    assert params == sum(parameter.numel() for parameter in net.parameters())
    assert 2 * macs == counter.get_total_flops()


@pytest.mark.parametrize("name", backbones.names())
def test_one_outline_serves_every_size(name: str) -> None:
    outlines = [
        backbones.build(name, in_channels=3, size=size, classes=10, device="meta").outline()
        for size in SIZES.get(name, (8, 32, 64))
    ]
    assert all(each == outlines[0] for each in outlines)


def test_other_widths_are_counted_without_building_them() -> None:
    net = backbones.build("vgg11", in_channels=3, size=32, classes=10, device="meta")
    wider = net.widths.replaced({"conv1": 80})
    rebuilt = backbones.build("vgg11", wider, in_channels=3, size=32, classes=10, device="meta")
    assert net.cost(wider) == rebuilt.cost()


@pytest.mark.parametrize(
    ("size", "shrinks", "left"),
    [(32, "", 32), (13, "f", 6), (1, "f", 1), (13, "c", 7), (14, "v", 10), (32, "t", 28)],
)
def test_each_character_shrinks_the_map_as_said(size: int, shrinks: str, left: int) -> None:
    assert side(size, shrinks) == left
