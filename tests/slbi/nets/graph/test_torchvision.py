"""One network of most families of torchvision; `bench.coverage` tries all of them."""

import pytest
import torch
import torchvision.models
from torch import Tensor, nn

from slbi.growth.narrow import narrow, start_widths
from slbi.growth.widen import widen
from slbi.nets.graph.counted import counted
from slbi.nets.graph.find import find
from slbi.nets.widths import Widths
from slbi.pruning.mask import masked
from slbi.pruning.slice import slice_filters

GROUPS = {
    "alexnet": (7, 0),
    "vgg11_bn": (10, 0),
    "resnet18": (12, 0),
    "resnext50_32x4d": (21, 0),
    "densenet121": (120, 0),
    "mobilenet_v2": (25, 0),
    "mobilenet_v3_small": (27, 0),
    "shufflenet_v2_x0_5": (20, 0),
    "squeezenet1_1": (25, 0),
    "efficientnet_b0": (40, 0),
    "regnet_y_400mf": (37, 0),
    "convnext_tiny": (22, 0),
    "swin_t": (12, 0),
}
"""Name -> groups that grow when LayerNorms count, and groups that then still do not."""


def _say(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        said: Tensor = net.eval()(x)
    return said


@pytest.mark.slow
@pytest.mark.parametrize("name", GROUPS)
def test_standard_networks_are_narrowed_widened_and_sliced(name: str) -> None:
    torch.manual_seed(0)
    standard = torchvision.models.get_model(name, weights=None)
    standard, whole = counted(standard, (3, 64, 64))
    blended = {group.name for group in whole.coupling.groups if group.blended is not None}
    assert (len(whole.widths) - len(blended), len(blended)) == GROUPS[name]

    found = whole.resized(start_widths(whole, ratio=1 / 8, minimum=2))
    net = narrow(standard, found.widths, found=whole)
    net.double()
    assert find(net, (3, 64, 64)) == found
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    before = _say(net, x)

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    widths = {group: width + (group not in blended) for group, width in found.widths.items()}
    generator = torch.Generator().manual_seed(0)
    wide = Widths(widths)
    net, optimizer = widen(net, optimizer, wide, found=found, generator=generator)
    found = found.resized(wide)
    assert (_say(net, x) - before).abs().max() <= 1e-12 * before.abs().max()

    keep = {}
    for group in found.widths.keys() - blended:
        keep[group] = torch.rand(found.widths[group], generator=generator) > 0.4
        keep[group][:2] = True  # One group of a grouped layer left is a plain layer.
    sliced = slice_filters(net, optimizer, keep, found=found)
    assert find(sliced.net, (3, 64, 64)) == sliced.found
    silent = _say(masked(net, keep, found=found, silent=True), x)
    assert (_say(sliced.net, x) - silent).abs().max() <= 1e-12 * silent.abs().max()


def test_the_search_needs_no_data() -> None:
    """Nothing is computed, so it needs neither data nor memory."""
    with torch.device("meta"):
        net = torchvision.models.resnet50(weights=None)
    found = find(net, (3, 224, 224))
    assert len(found.widths) == 37
    assert {fixed.reason for fixed in found.coupling.fixed} == {"input", "output"}
