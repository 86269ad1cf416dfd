"""Processes that train one network together: what each adds, and what all of them agree on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from worker.training.data.parts import WHOLE, Share
from worker.training.norms import synchronised

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Team:
    """Processes that train one network together; without arguments, a process that trains alone.

    Every process computes the same numbers from the same state, so that all of them take the same
    steps and the same decisions. What one process alone can know, a clock or a wish of the outside,
    is that of the leader, told to all. Every method must be called by all processes, in one order.
    """

    share: Share = WHOLE
    """What this process takes of every batch."""
    control: dist.ProcessGroup | None = None
    """Carries what is no tensor of a device; None: the same one as carries those."""

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.share.of == 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that records and writes."""
        return self.share.rank == 0

    def agree(self, *, wish: bool) -> bool:
        """Return the leader's wish. It waits for as long as the leader takes."""
        if self.alone:
            return wish
        told = torch.tensor([wish])
        dist.broadcast(told, 0, group=self.control)
        return bool(told)

    def told(self, value: T) -> T:
        """Return the leader's value."""
        if self.alone:
            return value
        values = [value]
        dist.broadcast_object_list(values, 0, group=self.control)
        return values[0]

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums of numbers over all processes, exact for whole ones below 2^53."""
        sums = torch.tensor(numbers, dtype=torch.float64)
        if not self.alone:
            dist.all_reduce(sums, group=self.control)
        return [float(value) for value in sums]

    def add_gradients(self, net: nn.Module) -> None:
        """Make every gradient the sum of those of all processes, in place."""
        if not self.alone:
            _add([weight.grad for weight in net.parameters() if weight.grad is not None])

    @contextmanager
    def training(self, net: nn.Module) -> Iterator[None]:
        """Let a network be trained by all: it begins as the leader's, its norms see all images."""
        if self.alone:
            yield
            return
        self.agree(wish=True)
        for tensor in net.state_dict().values():
            laid = tensor.contiguous()
            dist.broadcast(laid, 0)
            tensor.copy_(laid)
        with synchronised(net):
            yield


ALONE = Team()


def _add(tensors: Sequence[Tensor]) -> None:
    """Sum tensors over all processes, all in one message, in place."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    sizes = [tensor.numel() for tensor in tensors]
    for tensor, total in zip(tensors, torch.split(flat, sizes), strict=True):
        tensor.copy_(total.view(tensor.shape))
