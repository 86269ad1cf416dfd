"""A second counter agrees: Torch-Pruning's, a descendant of ptflops, which sums over layers.

It reports multiply-accumulates too, but takes more for one: the addition of a bias (once a linear
layer, however many positions it has; once a position of a convolution), one operation an entry of a
ReLU, PReLU or GELU, one an entry that a pool reads, and one or, with scale and shift, two an entry
that a norm reads. Each of these terms is computed here from the shapes alone; what is left must be
torch's count to the last operation. It has no term for products outside of layers, so networks with
attention, whose products are functions, are not among these.
"""

from functools import partial
from typing import Any

import pytest
import torch
import torchvision.models
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode
from torch_pruning.utils import count_ops_and_params

from slbi.nets import backbones
from slbi.nets.backbone import Backbone

SIDES = {"lenet5": 28, "vgg11": 32, "resnet20": 32}
"""Side of an image, px; 64 for the others, which are torchvision's."""

NETWORKS = (
    *SIDES, "alexnet", "resnet18", "resnet50", "resnext50_32x4d", "mobilenet_v2",
    "mobilenet_v3_small", "densenet121", "shufflenet_v2_x0_5", "squeezenet1_1", "efficientnet_b0",
    "regnet_y_400mf", "convnext_tiny",
)  # fmt: skip

_ONE_AN_ENTRY_MADE = (nn.ReLU, nn.ReLU6, nn.PReLU, nn.ELU, nn.LeakyReLU, nn.GELU)
_ONE_AN_ENTRY_READ = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


def _built(name: str) -> tuple[nn.Module, Tensor]:
    side = SIDES.get(name, 64)
    if name in SIDES:
        net: nn.Module = backbones.build(name, in_channels=3, size=side, classes=10)
    else:
        net = torchvision.models.get_model(name, weights=None)
    return net.eval(), torch.zeros(1, 3, side, side)


def _extra(module: nn.Module, x: Tensor, made: Tensor) -> int:
    """Return what the second counter counts of a layer beyond its products."""
    biased = int(getattr(module, "bias", None) is not None)
    match module:
        case _ConvNd():
            return made.numel() * biased
        case nn.Linear():
            return made.shape[-1] * biased
        case _BatchNorm():
            return x.numel() * (1 + module.affine)
    kind = type(module)  # It knows no derived class: a LayerNorm2d costs it nothing.
    if kind is nn.LayerNorm:
        return x.numel() * (1 + int(module.weight is not None))
    return made.numel() * (kind in _ONE_AN_ENTRY_MADE) + x.numel() * (kind in _ONE_AN_ENTRY_READ)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_second_counter_agrees_to_the_last_multiplication(name: str) -> None:
    net, image = _built(name)
    with FlopCounterMode(display=False) as counter:
        net(image)
    extra: dict[str, int] = {}

    def note(path: str, module: nn.Module, given: tuple[Any, ...], made: Tensor) -> None:
        extra[path] = extra.get(path, 0) + _extra(module, given[0], made)

    hooks = [
        module.register_forward_hook(partial(note, path))
        for path, module in net.named_modules()
        if not list(module.children())
    ]
    net(image)
    for hook in hooks:
        hook.remove()
    counted, params = count_ops_and_params(net, image)
    assert counter.get_total_flops() % 2 == 0
    assert counted - sum(extra.values()) == counter.get_total_flops() // 2
    assert params == sum(parameter.numel() for parameter in net.parameters())
    if isinstance(net, Backbone):
        assert net.cost() == (params, counter.get_total_flops() // 2)
    assert sum(extra.values()) > 0
