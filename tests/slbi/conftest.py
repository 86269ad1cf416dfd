"""What the tests of the networks share: networks with a past, and one with a flatten."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, max_pool2d, relu

from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.sketch import LayerSketch
from slbi.nets.sketched import Sketched
from slbi.nets.widths import Widths
from slbi.optim.optimizer import SLBI
from slbi.pruning.recalibrate import recalibrate

Pair = tuple[Backbone, torch.optim.Optimizer, Tensor]
"""A network, its optimizer, and a batch of images."""


class Flat(Sketched):
    """A convolution with a norm, and a linear layer that reads its flattened 4 px map."""

    def __init__(
        self, name: str, widths: Widths, *, in_channels: int, size: int, classes: int
    ) -> None:
        super().__init__(name, widths, in_channels=in_channels, size=size, classes=classes)
        self.conv = nn.Conv2d(in_channels, self.widths["conv"], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(self.widths["conv"])
        self.fc = nn.Linear(self.widths["conv"] * 16, self.widths["fc"])
        self.classifier = nn.Linear(self.widths["fc"], classes)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return ("flat",)

    @classmethod
    def standard_widths(cls, name: str) -> Widths:  # noqa: ARG003 -- there is one
        return Widths({"conv": 8, "fc": 9})

    @classmethod
    def check_size(cls, name: str, size: int) -> None:
        if size != 8:
            raise ValueError(f"size must be 8 px for {name}, got {size}")

    def sketch(self) -> tuple[LayerSketch, ...]:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        x = max_pool2d(relu(self.norm(self.conv(x))), 2).flatten(1)
        logits: Tensor = self.classifier(relu(self.fc(x)))
        return logits


def drive(
    net: Backbone, kind: str, images: Tensor, labels: Tensor, steps: int
) -> torch.optim.Optimizer:
    """Train a network a little and return its optimizer."""
    optimizers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "sgd": lambda: torch.optim.SGD(
            net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4
        ),
        "adamw": lambda: torch.optim.AdamW(net.parameters(), lr=1e-3, amsgrad=True),
        "slbi": lambda: SLBI(slbi_groups(net), lr=0.05, mu=1.0),
    }
    optimizer = optimizers[kind]()
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(net(images), labels).backward()  # type: ignore[no-untyped-call] # torch's own
        optimizer.step()
    return optimizer


def slbi_groups(net: Backbone) -> list[dict[str, Any]]:
    """Return convolutions by filter, linear layers by entry, the rest plain."""
    weights = list(net.parameters())
    return [
        {"params": [w for w in weights if w.ndim == 4], "structure": "filter"},
        {"params": [w for w in weights if w.ndim == 2], "structure": "element"},
        {"params": [w for w in weights if w.ndim < 2], "structure": None, "lr": 0.01},
    ]


@pytest.fixture(scope="session")
def trained() -> Callable[..., Pair]:
    """Make a network with uneven norms, two steps of training and settled statistics.

    It has its published widths, but VGG has 12 filters a group, which is faster.
    """

    def make(
        name: str,
        widths: Widths | None = None,
        *,
        size: int | None = None,
        dtype: torch.dtype = torch.float64,
        optimizer: str = "sgd",
        steps: int = 2,
        draw: int = 0,
    ) -> Pair:
        size = size or (28 if name == "lenet5" else 8)
        generator = torch.Generator().manual_seed(draw)
        if widths is None and name.startswith("vgg"):
            widths = Widths(dict.fromkeys(backbones.groups(name, size), 12))
        if name == "flat":
            flat = Flat.built(
                name,
                widths or Flat.standard_widths(name),
                in_channels=3,
                size=size,
                classes=5,
                device=torch.device("cpu"),
                dtype=dtype,
            )
            flat.initialise(generator)
            net: Backbone = flat
        else:
            net = backbones.build(
                name, widths, in_channels=3, size=size, classes=5, generator=generator, dtype=dtype
            )
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
                nn.init.normal_(module.bias, 0.0, 0.3, generator=generator)
        images = torch.randn(8, 3, size, size, dtype=dtype, generator=generator)
        labels = torch.arange(8) % 5
        driver = drive(net, optimizer, images, labels, steps)
        recalibrate(net, [images])
        return net, driver, images

    return make
