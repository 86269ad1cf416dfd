"""Some steps of training, and the batches that they take."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from slbi.nets.suited import suited

BACKWARD: Final = 3
"""A training step costs this many forward passes: one forward, two backward."""

Batch = tuple[Tensor, Tensor]
"""Inputs, (N, ...), and labels, where the network lives."""

Batches = Callable[[], Iterable[Batch]]
"""Gives an epoch each time it is called."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of what the network says and the labels, a scalar, mean over the batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """What some steps of training told."""

    steps: int
    inputs: int
    loss: float
    """Mean over the inputs."""
    accuracy: float
    """Share of inputs classified rightly, 0 to 1; NaN where the labels are not classes."""


def learn(
    net: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[Batch],
    loss: Loss,
    *,
    schedule: LRScheduler | None = None,
) -> Learned:
    """Train a network on some batches, in place of it and the optimizer.

    Args:
        net: it is set to training.
        optimizer: drives it.
        batches: a step each.
        loss: to be lowered.
        schedule: told of every step.

    Raises:
        ValueError: there is no batch, or the loss is not finite.
    """
    net.train()
    steps = seen = 0
    total = right = 0.0
    with suited(net):
        for inputs, labels in batches:
            optimizer.zero_grad()
            said = net(inputs)
            cost = loss(said, labels)
            torch.autograd.backward(cost)
            optimizer.step()
            if schedule is not None:
                schedule.step()
            steps += 1
            seen += len(inputs)
            total += float(cost.detach()) * len(inputs)
            right += _right(said, labels)
            if not math.isfinite(total):
                raise ValueError(f"the loss must stay finite, got {cost.item()} at step {steps}")
    if not steps:
        raise ValueError(NO_BATCH)
    return Learned(steps=steps, inputs=seen, loss=total / seen, accuracy=right / seen)


NO_BATCH: Final = "batches must hold at least one batch, got none"
"""What is said of an epoch without any."""


@dataclass(kw_only=True)
class Feed:
    """Batches without end, epoch behind epoch, of which a leg of training takes as many as it may.

    Raises:
        ValueError: an epoch holds no batch.
    """

    batches: Batches
    sizes: tuple[int, ...]
    """Inputs of every batch of an epoch."""
    taken: int = 0
    """Batches so far."""
    _source: Iterator[Batch] = field(init=False)
    _next: Batch = field(init=False)

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ValueError(NO_BATCH)
        self._source = _endless(self.batches)
        self._next = next(self._source)

    @property
    def left(self) -> int:
        """Return the batches that are left of the epoch."""
        return len(self.sizes) - self.taken % len(self.sizes)

    def fits(self, inputs: int) -> bool:
        """Return whether the next batch holds no more than so many inputs."""
        return len(self._next[0]) <= inputs

    def steps(self, inputs: int) -> int:
        """Return how many of the batches to come hold no more than so many inputs together."""
        epochs, rest = divmod(inputs, sum(self.sizes))
        coming = (*self.sizes[-self.left :], *self.sizes[: -self.left])
        steps = epochs * len(self.sizes)
        for size in coming:
            rest -= size
            if rest < 0:
                break
            steps += 1
        return steps

    def take(self, steps: int, inputs: int) -> Iterator[Batch]:
        """Yield the next batches, so many steps and inputs at most."""
        for _ in range(steps):
            if not self.fits(inputs):
                return
            yield self._next
            inputs -= len(self._next[0])
            self.taken += 1
            # Only now: whoever gives batches may use their memory for the next one.
            self._next = next(self._source)


def _endless(batches: Batches) -> Iterator[Batch]:
    while True:
        empty = True
        for batch in batches():
            empty = False
            yield batch
        if empty:
            raise ValueError(NO_BATCH)


def _right(said: object, labels: Tensor) -> float:
    """Return how many of a batch are classified rightly; NaN where the labels are not classes."""
    if not isinstance(said, Tensor) or said.ndim != 2 or labels.is_floating_point():
        return math.nan
    return float((said.detach().argmax(1) == labels).sum())
