"""BatchNorm over the images of several processes, on any device."""

from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from slbi.nets.lent import replaced
from slbi.nets.norms import follow


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
        follow(self, mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scale = scale * self.weight
        normalised = centred * scale[:, None, None]
        if self.affine:
            normalised = normalised + self.bias[:, None, None]
        return normalised.to(input.dtype)


def synchronised(net: nn.Module) -> AbstractContextManager[None]:
    """Put norms over all processes in the place of a network's own, which share their tensors."""
    return replaced(net, _over_all)


def _over_all(norm: nn.Module) -> nn.BatchNorm2d | nn.SyncBatchNorm | None:
    """Return a norm over all processes, without tensors, in the place of one over images."""
    if not isinstance(norm, nn.BatchNorm2d):
        return None
    on_cuda = norm.weight is not None and norm.weight.is_cuda
    kind: type[nn.BatchNorm2d | nn.SyncBatchNorm] = nn.SyncBatchNorm if on_cuda else TeamNorm
    return kind(norm.num_features, norm.eps, norm.momentum, norm.affine, device="meta")


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
