"""BatchNorm over the images of several processes, on any device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class TeamNorm(nn.BatchNorm2d):
    """BatchNorm that in training sees the images of all processes as one batch.

    torch's own, SyncBatchNorm, has no kernel for the CPU.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- torch's name
        """Return (N, C, H, W) normalised by mean and variance over all processes."""
        if not self.training:
            return super().forward(input)
        x = input.to(self.weight.dtype) if self.affine else input  # from autocast's precision
        images = x.new_full((1,), x.numel() / x.shape[1])
        sums = _total(torch.cat([x.sum(dim=(0, 2, 3)), images]))  # (C + 1,)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = x - mean[:, None, None]
        variance = _total(centred.square().sum(dim=(0, 2, 3))) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scale = scale * self.weight
        normalised = centred * scale[:, None, None]
        if self.affine:
            normalised = normalised + self.bias[:, None, None]
        return normalised.to(input.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Let the running statistics follow those of a batch, in place."""
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            raise ValueError("a norm that is trained must have a momentum and running statistics")
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


@contextmanager
def synchronised(net: nn.Module) -> Iterator[None]:
    """Put norms over all processes in the place of a network's own, which share their tensors."""
    places = [
        (parent, name, child)
        for parent in net.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.BatchNorm2d)
    ]
    for parent, name, child in places:
        setattr(parent, name, _over_all(child))
    try:
        yield
    finally:
        for parent, name, child in places:
            child.train(getattr(parent, name).training)
            setattr(parent, name, child)


def _over_all(norm: nn.BatchNorm2d) -> nn.Module:
    """Return a norm over all processes with the tensors of `norm`."""
    kind: type[nn.BatchNorm2d | nn.SyncBatchNorm] = TeamNorm
    if norm.weight is not None and norm.weight.is_cuda:
        kind = nn.SyncBatchNorm
    made = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, device="meta")
    made.weight, made.bias = norm.weight, norm.bias
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        setattr(made, name, getattr(norm, name))
    return made.train(norm.training)


class _Total(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(_ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ANN401 -- torch's context
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401 -- likewise
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def _total(tensor: Tensor) -> Tensor:
    total: Tensor = _Total.apply(tensor)
    return total
