"""A LayerNorm that can grow: only some of its filters count towards its statistics."""

import copy

import torch
from torch import Tensor, nn

_PROBE = (3, 5)
"""Lengths of the other axes of the input on which two norms are compared; any two will do."""

_AGREES = 1e-5
"""Largest difference of two norms that are one function. Rounding in float32 is 1e-6 here."""


class CountedLayerNorm(nn.LayerNorm):
    """A LayerNorm over one axis whose mean and variance run over the filters that count.

    All filters are normalised alike, by the statistic of those that count. So one that does not
    count can be added or removed without a change to any other. While all count it is a LayerNorm.

    Args:
        width: filters, of which all count.
        eps: is added to the variance.
        axis: of the filters, from the end: -1 behind the map, -3 in front of it.
    """

    counted: Tensor
    """(O,) bool: whether a filter counts."""

    def __init__(self, width: int, *, eps: float = 1e-5, axis: int = -1) -> None:
        super().__init__(width, eps=eps)
        self.axis = axis
        self.register_buffer("counted", torch.ones(width, dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        """Return x with each position normalised over its filters; statistics in float32 at least.

        Source: docs/method.md, "Norms that count".
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        counts = self._along(self.counted.to(wide.dtype))
        number = counts.sum()
        centred = wide - (wide * counts).sum(self.axis, keepdim=True) / number
        variance = (centred.square() * counts).sum(self.axis, keepdim=True) / number
        normal = centred * torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            normal = normal * self._along(self.weight)
        if self.bias is not None:
            normal = normal + self._along(self.bias)
        return normal.to(x.dtype)

    def extra_repr(self) -> str:
        """Return what `repr` says of it."""
        return f"{super().extra_repr()}, axis={self.axis}"

    def _along(self, row: Tensor) -> Tensor:
        """Return a row of one entry a filter, (O,), shaped to lie along the axis of filters."""
        return row.view(-1, *[1] * (-1 - self.axis))


@torch.no_grad()
def settle(counted: Tensor, removed: Tensor | None = None) -> None:
    """Let removed filters no longer count, in place; if none is left that does, all left count.

    Args:
        counted: (O,) bool. Buffer of a `CountedLayerNorm`.
        removed: (O,) bool, the filters that are masked; None if those that go are gone.
    """
    gone = torch.zeros_like(counted) if removed is None else removed.to(counted.device)
    counted &= ~gone
    if not counted.any():
        counted.copy_(~gone)


def counting(norm: nn.LayerNorm) -> CountedLayerNorm | None:
    """Return the same norm with filters that count, all of them; or None if there is none.

    The norm must run over one axis, the last or the one in front of a map. Which of them is tried
    out if it is of a class derived from torch's, as many networks have. Parameters, hooks and flags
    are those of the norm given, not copies.
    """
    if len(norm.normalized_shape) != 1:
        return None
    axis = -1 if type(norm) is nn.LayerNorm else _axis(norm)
    return None if axis is None else _made(norm, axis)


def _made(norm: nn.LayerNorm, axis: int) -> CountedLayerNorm:
    made = CountedLayerNorm.__new__(CountedLayerNorm)
    made.__dict__ = {
        key: copy.copy(value) if isinstance(value, dict | set) else value
        for key, value in norm.__dict__.items()
    }
    made.axis = axis
    device = next((parameter.device for parameter in norm.parameters()), None)
    made.register_buffer(
        "counted", torch.ones(norm.normalized_shape, dtype=torch.bool, device=device)
    )
    return made


@torch.no_grad()
def _axis(norm: nn.LayerNorm) -> int | None:
    """Return the axis of the filters of a norm, or None: its code computes something else."""
    # Called past the hooks, which are not meant to see this.
    generator = torch.Generator().manual_seed(0)
    tried = copy.deepcopy(norm).to_empty(device="cpu").float()
    for parameter in tried.parameters():
        parameter.normal_(generator=generator)
    for axis in (-1, -3):
        shape = [2, *_PROBE]
        shape.insert(len(shape) + 1 + axis, *norm.normalized_shape)
        x = torch.randn(shape, generator=generator)
        try:
            made = tried.forward(x)
        except (RuntimeError, ValueError, TypeError):  # Its code wants another input.
            continue
        if made.shape == x.shape and (made - _made(tried, axis).forward(x)).abs().max() <= _AGREES:
            return axis
    return None
