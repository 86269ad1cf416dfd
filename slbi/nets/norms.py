"""BatchNorm of few channels, fast on a CPU, in the place of a network's own while it trains."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from slbi.nets.lent import hooked, replaced

NARROW: Final = range(2, 7)
"""Numbers of channels with which `NarrowNorm` is faster: torch's own takes channels that lie
innermost by eights, and of one alone it is fast again. Source: `python -m bench.norms`."""

_ROW: Final = 64
"""Entries that a row of the folded batch has at least, where the batch allows: whole vectors."""


class NarrowNorm(nn.BatchNorm2d):
    """BatchNorm that takes several pixels as one row, so that whole vectors are computed.

    In training, of float32 images on a CPU whose channels lie innermost; else it is torch's own.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- torch's name
        """Return (N, C, H, W) normalised by mean and variance of the batch, or as learned."""
        if not (self.training and _folds(self, input)):
            return super().forward(input)
        made: tuple[Tensor, Tensor, Tensor] = _Narrow.apply(input, self.weight, self.bias, self.eps)
        normalised, mean, variance = made
        count = input.numel() // input.shape[1]
        follow(self, mean, variance * (count / (count - 1)))
        return normalised


def follow(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Let a norm's running statistics follow those of a batch, in place.

    Args:
        norm: trained, with a momentum and running statistics.
        mean: (C,) of the batch.
        variance: (C,) of the batch, unbiased.

    Raises:
        ValueError: it has none.
    """
    if norm.running_mean is None or norm.running_var is None or norm.momentum is None:
        raise ValueError("a norm that is trained must have a momentum and running statistics")
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance, norm.momentum)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)


@contextmanager
def narrow_norms(net: nn.Module) -> Iterator[None]:
    """Put `NarrowNorm` in the place of a network's norms of few channels, on a CPU."""
    with replaced(net, _narrow):
        yield


def _narrow(norm: nn.Module) -> NarrowNorm | None:
    """Return a substitute for a norm that is torch's own, narrow, on a CPU and not hooked."""
    if type(norm) is not nn.BatchNorm2d or norm.num_features not in NARROW:
        return None
    known = norm.affine and norm.track_running_stats and norm.momentum is not None
    if not (known and norm.weight.device.type == "cpu") or hooked(norm):
        return None
    return NarrowNorm(norm.num_features, norm.eps, norm.momentum, device="meta")


def _folds(norm: nn.BatchNorm2d, x: Tensor) -> bool:
    """Return whether a batch is one that is folded."""
    plain = x.dtype == norm.weight.dtype == torch.float32 and x.device.type == "cpu"
    return (
        plain
        and norm.momentum is not None
        and x.shape[1] == norm.num_features
        and x.numel() > x.shape[1]
        and x.is_contiguous(memory_format=torch.channels_last)
    )


class _Narrow(torch.autograd.Function):
    """Normalises a batch, (N, C, H, W), channels innermost; also returns its mean and variance."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 -- torch's context
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        folds = _times(x)
        rows, count = _rows(x, folds), x.numel() // x.shape[1]
        mean = _sum(rows, folds) / count
        centred = rows - mean.repeat(folds)
        variance = torch.linalg.vector_norm(centred, dim=0).square()
        variance = variance.view(folds, -1).sum(0) / count
        scale = torch.rsqrt(variance + eps)
        made = torch.addcmul(bias.repeat(folds), centred, (scale * weight).repeat(folds))
        ctx.save_for_backward(x, centred, weight, bias, scale)
        ctx.folds, ctx.eps = folds, eps
        ctx.mark_non_differentiable(mean, variance)
        return _images(made, x), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, centred, weight, bias, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again, which torch's own can
            again = batch_norm(x, None, None, weight, bias, training=True, eps=ctx.eps)
            found = torch.autograd.grad(again, (x, weight, bias), gradients[0], create_graph=True)
            return (*found, None)
        folds, count = ctx.folds, x.numel() // x.shape[1]
        rows = _rows(gradients[0], folds)
        of_bias = _sum(rows, folds)
        of_weight = _sum(rows * centred, folds) * scale
        slope = weight * scale
        along = of_weight * slope * scale / count
        level = of_bias * slope / count
        made = torch.addcmul(-level.repeat(folds), rows, slope.repeat(folds))
        made.addcmul_(centred, along.repeat(folds), value=-1.0)
        return _images(made, x), of_weight, of_bias, None


def _times(x: Tensor) -> int:
    """Return how many pixels of a batch are one row: a power of two that divides them all."""
    channels = x.shape[1]
    pixels, folds = x.numel() // channels, 1
    while folds * channels < _ROW and pixels % (2 * folds) == 0:
        folds *= 2
    return folds


def _rows(x: Tensor, folds: int) -> Tensor:
    """Return images as rows of several pixels, (N * H * W / folds, folds * C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, folds * x.shape[1])


def _images(rows: Tensor, like: Tensor) -> Tensor:
    """Return rows as images again."""
    count, channels, high, wide = like.shape
    return rows.view(count, high, wide, channels).permute(0, 3, 1, 2)


def _sum(rows: Tensor, folds: int) -> Tensor:
    """Return the sum over all pixels, (C,)."""
    return rows.sum(0).view(folds, -1).sum(0)
