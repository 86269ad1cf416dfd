"""How everybody learns: one optimizer, one step, two schedules."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from bench.family.ledger import Ledger, ending, learned
from slbi.growth.twins import twinned
from slbi.nets.graph.find import Found
from slbi.nets.suited import suited
from slbi.optim.optimizer import SLBI
from slbi.pruning.recalibrate import recalibrate

Stream = Iterator[tuple[Tensor, Tensor]]
"""Batches for ever."""

Schedule = Callable[[float], float]
"""Learning rate at a progress in [0, 1)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What all methods have in common."""

    batch: int = 128
    """Images a step."""
    lr: float = 0.1
    """Learning rate of a training from scratch, and of a trunk."""
    tune_lr: float = 0.05
    """First learning rate of a network that was cut from a trained one."""
    momentum: float = 0.9
    """Nesterov's."""
    decay: float = 5e-4
    """Coupled decay of weights of rank 2 and more; norms and biases have none."""


def constant(lr: float) -> Schedule:
    """Return a schedule that stays."""
    return lambda _: lr


def cosine(lr: float) -> Schedule:
    """Return a schedule that falls to zero along a cosine."""
    return lambda progress: lr * (1 + math.cos(math.pi * progress)) / 2


def plain(net: nn.Module, settings: Settings) -> torch.optim.SGD:
    """Return SGD for a network."""
    parameters = list(net.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [each for each in parameters if each.ndim > 1]},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        groups,
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.decay,
        nesterov=True,
    )


def coupled(net: nn.Module, found: Found, settings: Settings, *, coupling: float = 1.0) -> SLBI:
    """Return SLBI for a network, else set as `plain`; weights that make filters have a twin.

    Args:
        net: the network.
        found: of `net`.
        settings: of everybody.
        coupling: above 0. Factor of the thresholds; under a mu divided by it filters enter as
            before, and their twins pull on them that much less.
    """
    groups = twinned(net, found)
    for group in groups:
        if "threshold" in group:
            group["threshold"] *= coupling
    return SLBI(
        groups,
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.decay,
        nesterov=True,
    )


def finish(
    net: nn.Module,
    optimizer: Optimizer,
    stream: Stream,
    number: int,
    *,
    macs: int,
    ledger: Ledger,
    schedule: Schedule,
) -> None:
    """Do as `train` with what some steps cost, and measure the norms anew with the last of it.

    In few steps running statistics do not follow the weights. So every member of every method ends.
    """
    taken, batches = ending(number)
    train(net, optimizer, stream, taken, macs=macs, ledger=ledger, schedule=schedule)
    if not batches:
        return
    measured = [images for images, _ in islice(stream, batches)]
    ledger.pay(macs * sum(len(images) for images in measured))
    recalibrate(net, measured)


def train(
    net: nn.Module,
    optimizer: Optimizer,
    stream: Stream,
    steps: int,
    *,
    macs: int,
    ledger: Ledger,
    schedule: Schedule,
) -> None:
    """Train a network for some steps, in place of it, the optimizer and the ledger.

    Args:
        net: it is set to training.
        optimizer: drives it.
        stream: gives the batches.
        steps: how many, 0 or more.
        macs: of one image, forward.
        ledger: pays for every step before it is taken.
        schedule: of the learning rate over these steps.

    Raises:
        ValueError: the ledger cannot pay, or the loss is not finite.
    """
    net.train()
    with suited(net):
        for step in range(steps):
            images, labels = next(stream)
            ledger.pay(learned(macs, len(images)))
            for group in optimizer.param_groups:
                group["lr"] = schedule(step / steps)
            optimizer.zero_grad()
            loss = cross_entropy(net(images), labels)
            torch.autograd.backward(loss)
            optimizer.step()
            if step % 100 == 0 and not math.isfinite(float(loss.detach())):
                raise ValueError(f"the loss must stay finite, got {float(loss)} at step {step}")
