"""Pairs of new filters that cancel, in networks of every kind."""

import pytest
import torch

from slbi.growth.pairs import PairedSeed
from slbi.growth.widen import widen
from slbi.nets.widths import Widths
from worker.training import backbones

NAMES = (
    *("lenet5", "vgg11", "resnet20", "resnet18", "mobilenet_v2", "densenet121", "googlenet"),
    *("squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "efficientnet_b0"),
)


@pytest.mark.parametrize("more", [1, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_pairs_leave_the_function_of_any_network(name: str, more: int) -> None:
    size = 32
    standard = backbones.standard_widths(name, size, "auto")
    fixed = backbones.fixed(name)
    slim = Widths({g: w if g in fixed else max(2, w // 8) for g, w in standard.items()})
    net = backbones.build(
        name,
        slim,
        in_channels=3,
        size=size,
        classes=5,
        stem="auto",
        generator=torch.Generator().manual_seed(0),
    ).double()
    images = torch.randn(8, 3, size, size, generator=torch.Generator().manual_seed(1)).double()
    net.train()(images)  # statistics that are not neutral
    wide = Widths({g: w if g in fixed else w + more for g, w in slim.items()})
    wider, _ = widen(
        net,
        torch.optim.SGD(net.parameters(), lr=0.1),
        wide,
        seed=PairedSeed(),
        generator=torch.Generator().manual_seed(2),
    )
    with torch.no_grad():
        said, after = net.eval()(images), wider.eval()(images)
    assert (said - after).abs().max() < 1e-2 * said.abs().max()
