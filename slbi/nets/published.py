"""Networks of another library as they are published, without data, and what is found of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from torch import nn

from slbi.nets.graph.counted import counted
from slbi.nets.graph.find import Found
from slbi.nets.hollow import hollow
from slbi.nets.measure import Pass, measure, strip
from slbi.nets.sketch import CHANNELS, CLASSES


class Library(Protocol):
    """Gives networks by their names."""

    def standard(self, name: str, *, in_channels: int, size: int, classes: int) -> nn.Module:
        """Return the published network for such images and classes.

        Of what its layers hold only the shapes count. What else it holds, such as embeddings, it
        holds as published; what is random of that it draws from torch's own generator.
        """

    def usual(self, name: str) -> int:
        """Return the side of the images that the network was published for, px."""

    def sided(self, name: str) -> bool:
        """Return whether the network is another one for images of another side."""


Kind = tuple[Library, str, int, int, int]
"""Library, name, channels and side of the images, classes."""

CHANNELS_PUBLISHED, CLASSES_PUBLISHED = 3, 1000
"""For which a network is published: photographs, and the classes of ImageNet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A published network without data, and what was found of it."""

    net: nn.Module
    found: Found
    outside: Mapping[tuple[str, int], str]
    """Parameter and axis -> `CHANNELS` or `CLASSES`, whose number it has entries."""
    classifier: str
    """Name of the layer that makes the classes."""


def published(kind: Kind, seed: int = 0) -> nn.Module:
    """Return the published network, its layers without data. All of them come from here.

    Args:
        kind: which.
        seed: of what is random of the rest.
    """
    library, name, in_channels, size, classes = kind
    return hollow(
        lambda: library.standard(name, in_channels=in_channels, size=size, classes=classes),
        seed=seed,
    )


@lru_cache(maxsize=64)
def shape_of(kind: Kind) -> Shape:
    """Return the published network without data, and what was found of it.

    LayerNorms over filters count them, so that those can grow. Which axes follow the image and the
    classes shows in a network of one channel and two classes more.
    """
    library, name, in_channels, size, classes = kind
    net = published(kind).to("meta")
    other = dict(published((library, name, in_channels + 1, size, classes + 2)).named_parameters())
    outside = {
        (tensor, axis): {1: CHANNELS, 2: CLASSES}[other[tensor].shape[axis] - length]
        for tensor, parameter in net.named_parameters()
        for axis, length in enumerate(parameter.shape)
        if other[tensor].shape[axis] != length
    }
    made = [tensor for (tensor, axis), what in outside.items() if what == CLASSES and axis == 0]
    weights = [tensor for tensor in made if tensor.endswith(".weight")]
    net, found = counted(net, (in_channels, size, size))
    if found.coupling.routes or len(weights) != 1:
        raise ValueError(
            f"{name} must tell its classes by one layer and carry its filters without tables of "
            f"indices, got layers {weights} and {len(found.coupling.routes)} tables"
        )
    return Shape(
        net=net, found=found, outside=outside, classifier=weights[0].removesuffix(".weight")
    )


def pass_of(library: Library, name: str, size: int) -> tuple[Pass, int]:
    """Return what an image makes of the published network, and its parameters.

    Raises:
        ValueError: the network does not take images of this side, px; says what stops them.
    """
    return _pass((library, name, CHANNELS_PUBLISHED, size, CLASSES_PUBLISHED))


@lru_cache(maxsize=1024)
def _pass(kind: Kind) -> tuple[Pass, int]:
    library, name, in_channels, size, classes = kind
    built = size if library.sided(name) else library.usual(name)
    try:
        net, params = _stripped((library, name, in_channels, built, classes))
        return measure(net, (in_channels, size, size)), params
    except (RuntimeError, ValueError, AssertionError) as error:  # as layers refuse what they get
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


@lru_cache(maxsize=2)
def _stripped(kind: Kind) -> tuple[nn.Module, int]:
    """Return what `measure` needs of a published network, and the parameters of the whole."""
    net = published(kind).to("meta")
    params = sum(parameter.numel() for parameter in net.parameters())
    strip(net)
    return net, params


def usual_shape(library: Library, name: str) -> Shape:
    """Return what is found of a network for such images and classes as it was published for."""
    return shape_of((library, name, CHANNELS_PUBLISHED, library.usual(name), CLASSES_PUBLISHED))
