"""What a run asks of the images of one part of a data set, wherever they are kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What one of several processes that train together takes of the images."""

    rank: int = 0
    """Which process, from 0."""
    of: int = 1
    """Processes."""

    def of_batch(self, count: int) -> slice:
        """Return which images of a batch of `count` are this process's: an even, unbroken part."""
        return slice(self.rank * count // self.of, (self.rank + 1) * count // self.of)

    def turns(self, batches: Sequence[T]) -> Sequence[T]:
        """Return which of some batches are this process's: they are dealt out in turns."""
        return batches[self.rank :: self.of]


WHOLE = Share()
"""That of a process that trains alone."""


class Images(Protocol):
    """The images of one part of a data set, in memory or on disk."""

    @property
    def labels(self) -> Tensor:
        """(N,) int64, index into `classes`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of every class."""

    @property
    def channels(self) -> int:
        """Channels of every image."""

    @property
    def size(self) -> int:
        """Side of every image, px."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> Self:
        """Return the part with its batches on another device."""

    def rows(self, index: Tensor) -> Self:
        """Return the images of `index`, (M,) int64."""

    def batches(self, batch: int, share: Share = WHOLE) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images unvaried and in order: (B, C, H, W) uint8, and their (B,) int64 labels.

        Args:
            batch: images of a batch, fewer in the last one.
            share: which of the batches are yielded.
        """

    def sample(self) -> Tensor:
        """Return images enough to tell how bright they all are, (M, C, H, W) uint8."""

    def fingerprint(self) -> list[int]:
        """Return numbers that change when images or labels do."""
