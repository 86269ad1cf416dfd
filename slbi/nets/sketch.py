"""What a network costs, from its layers' outlines alone: no tensors, no torch.

An outline does not depend on the widths. Every number in it is a `Form` of them: a constant, and so
many for each filter of some groups.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

_SHRINKS: Final[Mapping[str, Callable[[int], int]]] = {
    "f": lambda size: max(1, size // 2),
    "c": lambda size: (size + 1) // 2,
    "v": lambda size: size - 4,
    "t": lambda _: 28,
    "m": lambda _: 1,
}
"""What one character of `Layer.shrinks` makes of the side of a map, px."""

CHANNELS: Final = ":channels"
"""Stands in a `Form` for the channels of an image, as a group does for its filters."""
CLASSES: Final = ":classes"
"""Likewise, for the classes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """A number that follows from the widths."""

    constant: int = 0
    terms: tuple[tuple[str, int], ...] = ()
    """Groups, or `CHANNELS` or `CLASSES`, each with what one of its filters adds."""

    def at(self, numbers: Mapping[str, int]) -> int:
        """Return the number at some widths.

        Args:
            numbers: group -> filters; `CHANNELS` and `CLASSES` too.
        """
        return self.constant + sum(numbers[name] * each for name, each in self.terms)

    def times(self, factor: int) -> "Form":
        """Return a multiple of it."""
        terms = tuple((name, each * factor) for name, each in self.terms)
        return Form(constant=self.constant * factor, terms=terms)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """The outline of one convolution or linear layer."""

    name: str
    """Name of the module in its network."""
    kind: Literal["conv", "linear"]
    makes: Form
    """Filters that it makes."""
    reads: Form
    """Weights that one of them has."""
    positions: Mapping[int, int] | None = None
    """Side of the image, px -> how often every weight is used for one image: pixels of its map,
    tokens. None: the square of what `shrinks` leaves of the side."""
    shrinks: str = ""
    """What happens to the side of the map from the image to this layer's output, in order: "f"
    half, rounded down, 1 px stays (a max-pool); "c" half, rounded up (a stride of 2); "v" less 4 (a
    5 px kernel without padding); "t" becomes 28 (LeNet's first layer); "m" becomes 1 (the mean)."""
    called: bool = True
    """Whether the network calls it as a module, so that its output can be looked at; else the
    network takes its weights alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """What one size of images takes beside the layers, whatever the widths."""

    params: int = 0
    macs: int = 0
    """Multiply-accumulates of one image, such as those of attention."""
    activations: int = 0
    """Numbers that they put out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outline:
    """What a network costs, at any widths."""

    layers: tuple[Layer, ...]
    """In the order of the data."""
    rest: Form
    """Parameters beside the weights of the layers: biases, norms."""
    beside: Mapping[int, Beside] = field(default_factory=dict)
    """Side of the image, px -> what it takes beside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSketch:
    """The outline of one layer as the networks of this project declare it."""

    name: str
    """Name of the module in its network."""
    kind: Literal["conv", "linear"]
    reads: str | None
    """Group whose filters it reads; None reads the image."""
    makes: str | None
    """Group whose filters it makes; None makes the classes."""
    kernel: int
    """Side of the kernel, px; 1 for a linear layer."""
    bias: bool
    norm: bool
    """Whether a BatchNorm with scale and shift stands behind it."""
    shrinks: str
    """See `Layer`."""


def outlined(sketch: Sequence[LayerSketch]) -> Outline:
    """Return the outline of declared layers."""
    layers, rest = [], dict[str, int]()
    for layer in sketch:
        reads = CHANNELS if layer.reads is None else layer.reads
        makes = CLASSES if layer.makes is None else layer.makes
        rest[makes] = rest.get(makes, 0) + layer.bias + 2 * layer.norm
        layers.append(
            Layer(
                name=layer.name,
                kind=layer.kind,
                makes=Form(terms=((makes, 1),)),
                reads=Form(terms=((reads, layer.kernel**2),)),
                shrinks=layer.shrinks,
            )
        )
    terms = tuple((name, each) for name, each in rest.items() if each)
    return Outline(layers=tuple(layers), rest=Form(terms=terms))


def side(size: int, shrinks: str) -> int:
    """Return the side of the map, px, that `Layer.shrinks` leaves of an image's side."""
    for shrink in shrinks:
        size = _SHRINKS[shrink](size)
    return size


def cost(
    outline: Outline,
    widths: Mapping[str, int],
    *,
    in_channels: int,
    size: int,
    classes: int,
) -> tuple[int, int]:
    """Return parameters, and multiply-accumulates of one image, forward.

    Additions of residuals, norms and pooling are not counted as multiply-accumulates.
    """
    numbers = {**widths, CHANNELS: in_channels, CLASSES: classes}
    beside = outline.beside.get(size, Beside())
    params, macs = outline.rest.at(numbers) + beside.params, beside.macs
    for layer in outline.layers:
        weights = layer.makes.at(numbers) * layer.reads.at(numbers)
        used = side(size, layer.shrinks) ** 2
        params += weights
        macs += weights * (used if layer.positions is None else layer.positions[size])
    return params, macs
