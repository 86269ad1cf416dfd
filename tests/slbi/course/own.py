"""A network that knows nothing of this project, and the handwritten digits it learns."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Own(nn.Module):
    """A stem, a depthwise block in a residual sum, a concatenation, a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.block = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 1, bias=False),
            nn.BatchNorm2d(16),
        )
        self.branch = nn.Sequential(nn.Conv2d(16, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16))
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(32 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.block(x))
        x = torch.cat((torch.relu(self.branch(x)), self.pool(x)), dim=1)
        logits: Tensor = self.head(x.flatten(1))
        return logits


@dataclass(frozen=True)
class Digits:
    """Images to learn and to judge by."""

    images: Tensor
    labels: Tensor
    held: int

    def batches(self) -> Iterable[tuple[Tensor, Tensor]]:
        """Yield the images to learn, in the order of the data."""
        for first in range(0, len(self.images) - self.held, 64):
            part = slice(first, min(first + 64, len(self.images) - self.held))
            yield self.images[part], self.labels[part]

    def score(self, net: nn.Module) -> float:
        """Return the accuracy on the images held out."""
        said: Tensor = net(self.images[-self.held :])
        return float((said.argmax(1) == self.labels[-self.held :]).float().mean())
