"""LeNet-5 for images of 28 or 32 px, with any width for each of its four layers."""

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from slbi.nets.sketch import LayerSketch
from slbi.nets.sketched import Sketched
from slbi.nets.widths import Widths

_STANDARD = Widths({"conv1": 6, "conv2": 16, "conv3": 120, "fc1": 84})
"""Source: LeCun et al. 1998, figure 2; every filter reads all maps of the layer before."""

_PADDING = {28: 2, 32: 0}
"""Size of the image, px -> padding of the first layer, so that its map is 28 px."""


class LeNet(Sketched):
    """Three convolutions of 5 px, two linear layers, ReLU and max-pools. See `Backbone`."""

    def __init__(
        self, name: str, widths: Widths, *, in_channels: int, size: int, classes: int
    ) -> None:
        super().__init__(name, widths, in_channels=in_channels, size=size, classes=classes)
        conv1, conv2, conv3, fc1 = (self.widths[group] for group in _STANDARD)
        self.conv1 = nn.Conv2d(in_channels, conv1, 5, padding=_PADDING[size])
        self.conv2 = nn.Conv2d(conv1, conv2, 5)
        self.conv3 = nn.Conv2d(conv2, conv3, 5)
        self.fc1 = nn.Linear(conv3, fc1)
        self.classifier = nn.Linear(fc1, classes)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the one name."""
        return ("lenet5",)

    @classmethod
    def standard_widths(cls, name: str) -> Widths:  # noqa: ARG003 -- one name, one table
        """Return the published widths."""
        return _STANDARD

    @classmethod
    def check_size(cls, name: str, size: int) -> None:
        """Refuse sizes whose map would not be 1 px before the linear layers."""
        if size not in _PADDING:
            raise ValueError(
                f"size must be 28 or 32 px for {name}, whose third layer makes one pixel of them, "
                f"got {size}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, classes) logits."""
        x = max_pool2d(relu(self.conv1(x)), 2)
        x = max_pool2d(relu(self.conv2(x)), 2)
        x = relu(self.conv3(x)).flatten(1)  # (N, conv3): its map is 1 px
        logits: Tensor = self.classifier(relu(self.fc1(x)))
        return logits

    def sketch(self) -> tuple[LayerSketch, ...]:
        """Return the outlines of the five layers."""
        shrinks = {"conv1": "t", "conv2": "tfv", "conv3": "tfvfv"}
        layers = (*_STANDARD, "classifier")
        return tuple(
            LayerSketch(
                name=layer,
                kind="conv" if layer in shrinks else "linear",
                reads=reads,
                makes=None if layer == "classifier" else layer,
                kernel=5 if layer in shrinks else 1,
                bias=True,
                norm=False,
                shrinks=shrinks.get(layer, "tfvfv"),
            )
            for reads, layer in zip((None, *layers), layers, strict=False)
        )
