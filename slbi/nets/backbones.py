"""The networks by name: what there is, and how one is built."""

import torch

from slbi.nets.backbone import Backbone
from slbi.nets.lenet import LeNet
from slbi.nets.resnet import ResNet
from slbi.nets.vgg import Vgg
from slbi.nets.widths import Widths

_FAMILIES: dict[str, type[Backbone]] = {
    name: family for family in (LeNet, Vgg, ResNet) for name in family.names()
}


def names() -> tuple[str, ...]:
    """Return the names of all networks, simple to complex within a family."""
    return tuple(_FAMILIES)


def standard_widths(name: str, size: int) -> Widths:
    """Return the widths of the published network.

    Raises:
        ValueError: an unknown name, or a size, px, that does not suit.
    """
    family = _family(name)
    family.check_size(name, size)
    return family.standard_widths(name)


def groups(name: str, size: int) -> tuple[str, ...]:
    """Return the names of the groups of filters, in the order of the data.

    Raises:
        ValueError: an unknown name, or a size, px, that does not suit.
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
    dtype: torch.dtype = torch.float32,
) -> Backbone:
    """Return a network with initial weights.

    Args:
        name: one of `names()`.
        widths: filters of every group; None is the published network.
        in_channels: channels of an image.
        size: side of an image, px.
        classes: classes told apart.
        generator: source of the weights; None is torch's default CPU generator. The same state
            gives the same weights on every device.
        device: where it lives; on "meta" it has shapes only, enough to count.
        dtype: of weights and norms.

    Raises:
        ValueError: an unknown name, an unsuitable size, other groups than the network has.
    """
    family = _family(name)
    if widths is None:
        widths = standard_widths(name, size)
    net = family.built(
        name,
        widths,
        in_channels=in_channels,
        size=size,
        classes=classes,
        device=torch.device(device),
        dtype=dtype,
    )
    net.initialise(generator)
    return net


def _family(name: str) -> type[Backbone]:
    if name not in _FAMILIES:
        raise ValueError(f"backbone must be one of {', '.join(_FAMILIES)}, got {name!r}")
    return _FAMILIES[name]
