"""VGG with BatchNorm for small images, with any width for each convolution."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from slbi.nets.sketch import LayerSketch
from slbi.nets.sketched import Sketched
from slbi.nets.widths import Widths

_STAGES = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""Convolutions before each max-pool. Source: Simonyan and Zisserman, arXiv 1409.1556, table 1."""

_FILTERS = (64, 128, 256, 512, 512)
"""Filters of each convolution of a stage. Source: the same table."""

_SMALLEST = 8
"""Smallest image, px: below it most of the network would work on one pixel."""


class Cell(nn.Module):
    """Convolution of 3 px, BatchNorm, ReLU and, at the end of a stage, a max-pool.

    Args:
        reads: filters it reads.
        makes: filters it makes.
        pools: whether the stage ends here. A map of 1 px is not pooled.
    """

    def __init__(self, reads: int, makes: int, *, pools: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(reads, makes, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(makes)
        self.pools = pools

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, O, H', W') from (N, I, H, W)."""
        x = relu(self.norm(self.conv(x)))
        return max_pool2d(x, 2) if self.pools and x.shape[-1] > 1 else x


class Vgg(Sketched):
    """Convolutions in five stages, the mean over the last map, one linear layer. See `Backbone`.

    The mean stands for the published three linear layers: on an image of 32 px the last map is one
    pixel, so nothing is averaged, and larger images need no larger head.
    """

    def __init__(
        self, name: str, widths: Widths, *, in_channels: int, size: int, classes: int
    ) -> None:
        super().__init__(name, widths, in_channels=in_channels, size=size, classes=classes)
        reads = in_channels
        cells: OrderedDict[str, nn.Module] = OrderedDict()
        for group, pools in zip(self.widths, self._pools(), strict=True):
            cells[group] = Cell(reads, self.widths[group], pools=pools)
            reads = self.widths[group]
        self.features = nn.Sequential(cells)
        self.classifier = nn.Linear(reads, classes)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names, shallow to deep."""
        return tuple(_STAGES)

    @classmethod
    def standard_widths(cls, name: str) -> Widths:
        """Return the published widths."""
        filters = [
            made for made, depth in zip(_FILTERS, _STAGES[name], strict=True) for _ in range(depth)
        ]
        return Widths({f"conv{i}": made for i, made in enumerate(filters, start=1)})

    @classmethod
    def check_size(cls, name: str, size: int) -> None:
        """Refuse sizes at which most of the network would work on one pixel."""
        if size < _SMALLEST:
            raise ValueError(
                f"size must be >= {_SMALLEST} px for {name}, which halves the map up to five "
                f"times, got {size}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, classes) logits."""
        x = self.features(x).mean(dim=(2, 3))
        logits: Tensor = self.classifier(x)
        return logits

    @classmethod
    def group_of(cls, module: str) -> str:
        """Return the name of the cell that a convolution stands in."""
        return module.split(".")[1]

    def sketch(self) -> tuple[LayerSketch, ...]:
        """Return the outlines of the convolutions and the classifier."""
        layers: list[LayerSketch] = []
        reads: str | None = None
        shrinks = ""
        for group, pools in zip(self.widths, self._pools(), strict=True):
            layers.append(
                LayerSketch(
                    name=f"features.{group}.conv",
                    kind="conv",
                    reads=reads,
                    makes=group,
                    kernel=3,
                    bias=False,
                    norm=True,
                    shrinks=shrinks,
                )
            )
            reads = group
            shrinks += "f" * pools
        head = LayerSketch(
            name="classifier",
            kind="linear",
            reads=reads,
            makes=None,
            kernel=1,
            bias=True,
            norm=False,
            shrinks=f"{shrinks}m",
        )
        return (*layers, head)

    def _pools(self) -> list[bool]:
        """Return for every convolution whether its stage ends there."""
        return [i == depth for depth in _STAGES[self.name] for i in range(1, depth + 1)]
