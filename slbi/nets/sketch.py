"""What a network costs, from its layers' outlines alone: no tensors, no torch.

A sketch does not depend on the widths, nor, but for networks of other libraries, on the size; with
the widths, the image and the classes it gives the parameters and the multiply-accumulates of one
image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

_SHRINKS: Final[Mapping[str, Callable[[int], int]]] = {
    "f": lambda size: max(1, size // 2),
    "c": lambda size: (size + 1) // 2,
    "v": lambda size: size - 4,
    "t": lambda _: 28,
    "m": lambda _: 1,
}
"""What one character of `LayerSketch.shrinks` makes of the side of a map, px."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSketch:
    """The outline of one convolution or linear layer."""

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
    """What happens to the side of the map from the image to this layer's output, in order: "f"
    half, rounded down, 1 px stays (a max-pool); "c" half, rounded up (a stride of 2); "v" less 4 (a
    5 px kernel without padding); "t" becomes 28 (LeNet's first layer); "m" becomes 1 (the mean)."""
    block: int = 1
    """Entries that it reads of each filter: H x W behind a flatten."""
    sides: Mapping[int, int] | None = None
    """Side of the image -> side of its map, px, in a sketch that is for some sizes alone; `shrinks`
    is then without meaning."""


def side(size: int, shrinks: str) -> int:
    """Return the side of the map, px, that `LayerSketch.shrinks` leaves of an image's side."""
    for shrink in shrinks:
        size = _SHRINKS[shrink](size)
    return size


def cost(
    sketch: Sequence[LayerSketch],
    widths: Mapping[str, int],
    *,
    in_channels: int,
    size: int,
    classes: int,
) -> tuple[int, int]:
    """Return parameters, and multiply-accumulates of one image, forward.

    Additions of residuals, BatchNorm and pooling are not counted as multiply-accumulates.
    """
    params = macs = 0
    for layer in sketch:
        reads = in_channels if layer.reads is None else widths[layer.reads]
        makes = classes if layer.makes is None else widths[layer.makes]
        weights = layer.kernel**2 * reads * layer.block * makes
        params += weights + makes * (layer.bias + 2 * layer.norm)
        macs += weights * (layer.sides[size] if layer.sides else side(size, layer.shrinks)) ** 2
    return params, macs
