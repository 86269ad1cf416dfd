"""Every network that a run can be asked for: those of `slbi`, and some of torchvision's."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from slbi.nets import backbones
from slbi.nets.adapted import Adapted
from slbi.nets.backbone import Backbone
from slbi.nets.sketch import LayerSketch
from slbi.nets.widths import Widths

_TORCHVISION = ("alexnet", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152")

SIZES = range(8, 224 + 1)
"""Sides of images, px, that a config may ask for, see `config.DataConfig.image_size`."""

_PHOTOGRAPHS = (64, 96, 128, 160, 192, 224)
"""Those for which the cost of torchvision's networks is tabled; others would do as well."""

_SMALLEST = {"alexnet": 63}
"""Side, px, of the smallest image of which its pools leave anything; 32 for the others, which halve
the map five times."""


class Torchvision(Adapted):
    """A classifier of torchvision for photographs. See `Backbone`."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return their names, which are torchvision's."""
        return _TORCHVISION

    @classmethod
    def smallest(cls, name: str) -> int:
        """Return the side of the smallest image, px."""
        return _SMALLEST.get(name, 32)

    @classmethod
    def standard(cls, name: str, *, in_channels: int, size: int, classes: int) -> nn.Module:  # noqa: ARG003 -- one network for all sizes
        """Return the published network; of other images than RGB its first layer differs."""
        import torchvision  # noqa: PLC0415 - takes a second, and few runs need it

        make: Callable[..., nn.Module] = getattr(torchvision.models, name)
        net = make(num_classes=classes)
        if in_channels != 3:
            first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
            shape = (first.out_channels, in_channels, *first.kernel_size)
            first.weight = nn.Parameter(first.weight.new_empty(shape))
            first.in_channels = in_channels
        return net


def names() -> tuple[str, ...]:
    """Return the names of all networks."""
    return (*backbones.names(), *Torchvision.names())


def sizes(name: str) -> Sequence[int]:
    """Return the sides of images, px, that may be offered for a network."""
    return _PHOTOGRAPHS if name in _TORCHVISION else SIZES


def standard_widths(name: str, size: int) -> Widths:
    """Return the widths of the published network.

    Raises:
        ValueError: an unknown name, or a size, px, that does not suit.
    """
    if name not in _TORCHVISION:
        _check(name)
        return backbones.standard_widths(name, size)
    Torchvision.check_size(name, size)
    return Torchvision.standard_widths(name)


def sketch(name: str, sizes: Sequence[int]) -> tuple[LayerSketch, ...]:
    """Return the outline of every layer, for images of these sides, px.

    Raises:
        ValueError: an unknown name, or a size that does not suit.
    """
    if name in _TORCHVISION:
        return Torchvision.outline(name, sizes, in_channels=3, classes=1000)
    _check(name)
    net = backbones.build(name, in_channels=3, size=sizes[0], classes=2, device="meta")
    return net.sketch()


def groups(name: str, size: int) -> tuple[str, ...]:
    """Return the names of the groups of filters, in the order of the data.

    Raises:
        ValueError: as `standard_widths`.
    """
    return tuple(standard_widths(name, size))


def build(
    name: str,
    widths: Widths | None = None,
    *,
    in_channels: int,
    size: int,
    classes: int,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Backbone:
    """Return a network with initial weights, in float32. See `slbi.nets.backbones.build`.

    Raises:
        ValueError: an unknown name, an unsuitable size, other groups than the network has.
    """
    if name not in _TORCHVISION:
        _check(name)
        return backbones.build(
            name,
            widths,
            in_channels=in_channels,
            size=size,
            classes=classes,
            generator=generator,
            device=device,
        )
    net = Torchvision.built(
        name,
        standard_widths(name, size) if widths is None else widths,
        in_channels=in_channels,
        size=size,
        classes=classes,
        device=torch.device(device),
        dtype=torch.float32,
    )
    net.initialise(generator)
    return net


def _check(name: str) -> None:
    if name not in names():
        raise ValueError(f"backbone must be one of {', '.join(names())}, got {name!r}")
