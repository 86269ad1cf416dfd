"""What a method is asked, and what it answers."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from bench.family.data import stream
from bench.family.ledger import Ledger
from bench.family.networks import Standard
from bench.family.training import Settings, Stream
from slbi.nets.count import count
from worker.training.data.load import Data

BUDGETS = (0.02, 0.05, 0.12, 0.25, 0.5)
"""Shares of the standard network's multiply-accumulates. Source: issue 6, five from 2 % to 50 %."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run of one method."""

    standard: Standard
    data: Data
    images: int
    """Training images, the tenth that is left out included."""
    budgets: tuple[float, ...] = BUDGETS
    """Rising shares of the standard network's multiply-accumulates, in (0, 1]."""
    compute: int
    """Training multiply-accumulates that one run may spend."""
    seed: int
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        if not self.budgets or list(self.budgets) != sorted(set(self.budgets)):
            raise ValueError(f"budgets must rise, got {self.budgets}")
        if not (self.budgets[0] > 0 and self.budgets[-1] <= 1):
            raise ValueError(f"budgets must be in (0, 1], got {self.budgets}")

    @property
    def limits(self) -> tuple[int, ...]:
        """Return the most multiply-accumulates of each member."""
        return self.standard.limits(self.budgets)

    def stream(self) -> Stream:
        """Return the batches to learn from, from the first one of the seed on."""
        batch = min(self.settings.batch, len(self.data.train))
        return stream(self.data, batch, self.seed)

    @property
    def batch(self) -> int:
        """Return the images of a step."""
        return min(self.settings.batch, len(self.data.train))

    def weights(self) -> torch.Generator:
        """Return a source of weights, from the first one of the seed on."""
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True, kw_only=True)
class Made:
    """The member of one budget."""

    budget: float
    net: nn.Module
    spent: int
    """Training multiply-accumulates of its run when it was ready."""
    cpu_seconds: float
    """Likewise seconds of one core."""


@dataclass(kw_only=True)
class Outcome:
    """What a method made."""

    members: list[Made] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    """Training multiply-accumulates of every run, none more than the task's compute. A method that
    makes all members in one run has one."""


Method = Callable[[Task], Outcome]


class Run:
    """One run on its way: its account and its clock.

    Args:
        task: what is asked.
    """

    def __init__(self, task: Task) -> None:
        self.ledger = Ledger(task.compute)
        self.began = time.process_time()

    def made(self, budget: float, limit: int, net: nn.Module, shape: tuple[int, ...]) -> Made:
        """Return a member, which must be within its limit.

        Raises:
            ValueError: it is not.
        """
        macs = count(net, shape)[1]
        if macs > limit:
            raise ValueError(f"a member of budget {budget} must have at most {limit}, got {macs}")
        return Made(
            budget=budget,
            net=net,
            spent=self.ledger.spent,
            cpu_seconds=time.process_time() - self.began,
        )
