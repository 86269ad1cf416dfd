"""The networks of the comparison: what they are at their standard widths, and narrower."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from slbi.growth.choice import alike, raised
from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.graph.find import Found, find
from slbi.nets.initial import deviation, draw
from slbi.nets.widths import Widths

NAMES = ("small-vgg", "resnet20")

_SMALL_VGG = {"conv1": 16, "conv2": 16, "conv3": 32, "conv4": 32, "conv5": 64, "conv6": 64}
"""Filters of the small VGG. Source: issue 6, "The benchmark"."""

_POOLED = ("conv2", "conv4")
"""Convolutions of the small VGG behind which the map is halved."""


@dataclass(frozen=True)
class Standard:
    """A network at its standard widths, for images of one kind.

    Args:
        name: one of `NAMES`.
        channels: of an image.
        size: side of an image, px.
        classes: told apart.
    """

    name: str
    channels: int
    size: int
    classes: int

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"backbone must be one of {', '.join(NAMES)}, got {self.name!r}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape of one image."""
        return (self.channels, self.size, self.size)

    @property
    def widths(self) -> Widths:
        """Return the standard widths."""
        return self.found().widths

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates of one image at the standard widths."""
        return self.cost(self.widths)[1]

    def found(self) -> Found:
        """Return its coupling and its widths."""
        return _found(self)

    def cost(self, widths: Widths) -> tuple[int, int]:
        """Return parameters and multiply-accumulates of one image at some widths."""
        return _cost(self, widths)

    def limits(self, budgets: tuple[float, ...]) -> tuple[int, ...]:
        """Return the most multiply-accumulates of each budget, a share in (0, 1]."""
        return tuple(int(share * self.macs) for share in budgets)

    def fresh(self, widths: Widths, generator: torch.Generator) -> nn.Module:
        """Return a network of some widths with new weights, channels innermost in memory."""
        net = _hollow(self, widths).to_empty(device="cpu")
        _initialise(net, generator)
        return net.to(memory_format=torch.channels_last)

    def uniform(self, limit: int) -> Widths:
        """Return the widest network of a limit whose groups all keep one share of their filters.

        Raises:
            ValueError: one filter a group costs more.
        """
        return alike(self.widths, cost=self.cost, fits={"max_macs": limit})

    def raised(self, widths: Widths, limit: int) -> Widths:
        """Return `uniform` of widths none smaller than some."""
        return raised(widths, self.widths, cost=self.cost, fits={"max_macs": limit})


def small_vgg(widths: Widths, *, channels: int, classes: int) -> nn.Sequential:
    """Return the small VGG of plain torch modules; its maps must be 4 px wide or more."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    reads = channels
    for name in _SMALL_VGG:
        makes = widths[name]
        layers[name] = nn.Conv2d(reads, makes, 3, padding=1, bias=False)
        layers[f"{name}_norm"] = nn.BatchNorm2d(makes)
        layers[f"{name}_relu"] = nn.ReLU()
        if name in _POOLED:
            layers[f"{name}_pool"] = nn.MaxPool2d(2)
        reads = makes
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flat"] = nn.Flatten()
    layers["classifier"] = nn.Linear(reads, classes)
    return nn.Sequential(layers)


def _hollow(standard: Standard, widths: Widths) -> nn.Module:
    """Return a network without data."""
    if standard.name == "small-vgg":
        with torch.device("meta"):
            return small_vgg(widths, channels=standard.channels, classes=standard.classes)
    return backbones.build(
        standard.name,
        widths,
        in_channels=standard.channels,
        size=standard.size,
        classes=standard.classes,
        device="meta",
    )


@torch.no_grad()
def _initialise(net: nn.Module, generator: torch.Generator) -> None:
    """Draw He's initial values, in place; a network that knows its own draws them itself."""
    if isinstance(net, Backbone):
        net.initialise(generator)
        return
    for module in net.modules():
        match module:
            case nn.BatchNorm2d():
                module.reset_parameters()
            case nn.Conv2d():
                shape = tuple(module.weight.shape)
                spread = deviation(module.weight[0].numel())
                module.weight.copy_(draw(shape, module.weight, generator) * spread)
            case nn.Linear():
                shape = tuple(module.weight.shape)
                spread = deviation(shape[1], gain=1.0)
                module.weight.copy_(draw(shape, module.weight, generator) * spread)
                module.bias.zero_()


@lru_cache(maxsize=16)
def _known(standard: Standard) -> Backbone:
    """Return a backbone at its published widths, without data."""
    return backbones.build(
        standard.name,
        in_channels=standard.channels,
        size=standard.size,
        classes=standard.classes,
        device="meta",
    )


@lru_cache(maxsize=16)
def _found(standard: Standard) -> Found:
    if standard.name == "small-vgg":
        return find(_hollow(standard, Widths(_SMALL_VGG)), standard.shape)
    return _known(standard).found()


@lru_cache(maxsize=65536)
def _cost(standard: Standard, widths: Widths) -> tuple[int, int]:
    if standard.name != "small-vgg":
        return _known(standard).cost(widths)
    params = macs = 0
    reads, side = standard.channels, standard.size
    for name in _SMALL_VGG:
        weights = 9 * reads * widths[name]
        params += weights + 2 * widths[name]
        macs += weights * side**2
        side //= 2 if name in _POOLED else 1
        reads = widths[name]
    head = reads * standard.classes
    return params + head + standard.classes, macs + head
