"""One epoch of training."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Gives an epoch of inputs, (N, ...), and labels, where the network lives."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of what the network says and the labels, a scalar, mean over the batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """What an epoch of training told."""

    steps: int
    loss: float
    """Mean over the images."""
    accuracy: float
    """Share of images classified rightly, 0 to 1; NaN where the labels are not classes."""


def train_epoch(
    net: nn.Module,
    optimizer: Optimizer,
    batches: Batches,
    loss: Loss,
    *,
    schedule: LRScheduler | None = None,
) -> Epoch:
    """Train a network for an epoch, in place of it and the optimizer.

    Args:
        net: it is set to training.
        optimizer: drives it.
        batches: gives the epoch.
        loss: to be lowered.
        schedule: told of every step.

    Raises:
        ValueError: there is no batch, or the loss is not finite.
    """
    net.train()
    steps = images = 0
    total = right = 0.0
    for inputs, labels in batches():
        optimizer.zero_grad()
        said = net(inputs)
        cost = loss(said, labels)
        cost.backward()  # type: ignore[no-untyped-call] # torch's own
        optimizer.step()
        if schedule is not None:
            schedule.step()
        steps += 1
        images += len(inputs)
        total += float(cost.detach()) * len(inputs)
        right += _right(said, labels)
        if not math.isfinite(total):
            raise ValueError(f"the loss must stay finite, got {cost.item()} at step {steps}")
    if not steps:
        raise ValueError("batches must hold at least one batch, got none")
    return Epoch(steps=steps, loss=total / images, accuracy=right / images)


def _right(said: object, labels: Tensor) -> float:
    """Return how many of a batch are classified rightly; NaN where the labels are not classes."""
    if not isinstance(said, Tensor) or said.ndim != 2 or labels.is_floating_point():
        return math.nan
    return float((said.detach().argmax(1) == labels).sum())
