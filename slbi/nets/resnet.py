"""ResNet of 6n + 2 layers for small images, with any width for each stream and each inner layer."""

from collections import OrderedDict
from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.functional import relu

from slbi.nets.shortcut import Shortcut
from slbi.nets.sketch import LayerSketch
from slbi.nets.sketched import Sketched
from slbi.nets.widths import Widths

_BLOCKS = {"resnet20": 3, "resnet32": 5, "resnet44": 7, "resnet56": 9, "resnet110": 18}
"""Blocks of each of the three stages, n. Source: He et al. 2015, arXiv 1512.03385, section 4.2."""

_FILTERS = {"stage1": 16, "stage2": 32, "stage3": 64}
"""Filters of each stage. Source: the same section."""

_SMALLEST = 8
"""Smallest image, px: the last stage then works on a map of 2 px."""


class Block(nn.Module):
    """Two convolutions of 3 px with BatchNorm, added to what the stream carries.

    Args:
        reads: filters of the stream before it.
        inner: filters between its convolutions.
        makes: filters of the stream behind it.
        bridge: whether it leads into the next stage, at half the resolution.
    """

    def __init__(self, reads: int, inner: int, makes: int, *, bridge: bool) -> None:
        super().__init__()
        stride = 2 if bridge else 1
        self.conv1 = nn.Conv2d(reads, inner, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, makes, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(makes)
        self.shortcut = Shortcut(reads, makes, stride=stride) if bridge else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, O, H', W') from (N, I, H, W)."""
        carried = x if self.shortcut is None else self.shortcut(x)
        inner = relu(self.norm1(self.conv1(x)))
        return relu(self.norm2(self.conv2(inner)) + carried)


class ResNet(Sketched):
    """A stem, three stages of blocks, the mean over the map, one linear layer. See `Backbone`.

    The filters of a stage's stream are one group ("stage1", which the stem feeds too), and those
    between the convolutions of a block another ("stage1.block1").
    """

    def __init__(
        self, name: str, widths: Widths, *, in_channels: int, size: int, classes: int
    ) -> None:
        super().__init__(name, widths, in_channels=in_channels, size=size, classes=classes)
        self.stem_conv = nn.Conv2d(in_channels, self.widths["stage1"], 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(self.widths["stage1"])
        stages: OrderedDict[str, OrderedDict[str, nn.Module]] = OrderedDict()
        for stage, block, before in self._blocks():
            stages.setdefault(stage, OrderedDict())[block] = Block(
                self.widths[before],
                self.widths[f"{stage}.{block}"],
                self.widths[stage],
                bridge=before != stage,
            )
        self.stages = nn.Sequential(
            OrderedDict((stage, nn.Sequential(blocks)) for stage, blocks in stages.items())
        )
        self.classifier = nn.Linear(self.widths["stage3"], classes)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names, shallow to deep."""
        return tuple(_BLOCKS)

    @classmethod
    def standard_widths(cls, name: str) -> Widths:
        """Return the published widths."""
        widths = {}
        for stage, filters in _FILTERS.items():
            widths[stage] = filters
            widths |= {f"{stage}.block{i + 1}": filters for i in range(_BLOCKS[name])}
        return Widths(widths)

    @classmethod
    def check_size(cls, name: str, size: int) -> None:
        """Refuse sizes at which the last stage would work on one pixel."""
        if size < _SMALLEST:
            raise ValueError(
                f"size must be >= {_SMALLEST} px for {name}, which halves the map twice, got {size}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, classes) logits."""
        x = self.stages(relu(self.stem_norm(self.stem_conv(x)))).mean(dim=(2, 3))
        logits: Tensor = self.classifier(x)
        return logits

    @classmethod
    def group_of(cls, module: str) -> str:
        """Return the stage whose stream a module is the first to feed, or its block within."""
        if module == "stem_conv":
            return "stage1"
        _, stage, block, conv = module.split(".")
        return f"{stage}.{block}" if conv == "conv1" else stage

    def sketch(self) -> tuple[LayerSketch, ...]:
        """Return the outlines of the stem, the blocks' convolutions and the classifier."""
        layers = [_conv("stem_conv", None, "stage1", "")]
        shrinks = ""
        for stage, block, before in self._blocks():
            inner, path = f"{stage}.{block}", f"stages.{stage}.{block}"
            shrinks += "c" * (before != stage)
            layers.append(_conv(f"{path}.conv1", before, inner, shrinks))
            layers.append(_conv(f"{path}.conv2", inner, stage, shrinks))
        head = LayerSketch(
            name="classifier",
            kind="linear",
            reads="stage3",
            makes=None,
            kernel=1,
            bias=True,
            norm=False,
            shrinks=f"{shrinks}m",
        )
        return (*layers, head)

    def _blocks(self) -> Iterator[tuple[str, str, str]]:
        """Yield for every block its stage, its name there, and the stage of what it reads."""
        before = "stage1"
        for stage in _FILTERS:
            for i in range(_BLOCKS[self.name]):
                yield stage, f"block{i + 1}", before
                before = stage


def _conv(name: str, reads: str | None, makes: str, shrinks: str) -> LayerSketch:
    return LayerSketch(
        name=name,
        kind="conv",
        reads=reads,
        makes=makes,
        kernel=3,
        bias=False,
        norm=True,
        shrinks=shrinks,
    )
