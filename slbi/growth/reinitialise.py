"""Give the worst filters of a layer a fresh start outside the span of the others."""

import torch
from torch import Tensor
from torch.optim import Optimizer

from slbi.growth.seed import mean_norm, orthogonal
from slbi.nets.initial import draw


def worst(scores: Tensor, percent: float) -> Tensor:
    """Return which filters are the worst `percent` of a layer, rounded up; one always stays out.

    Args:
        scores: (O,), the higher the better.
        percent: 0 up to, not with, 100.

    Returns:
        (O,) bool.

    Raises:
        ValueError: `percent` is outside its range, or so high that no filter is left to keep.
    """
    if scores.ndim != 1:
        raise ValueError(f"scores must be 1-D, got shape {tuple(scores.shape)}")
    if not 0 <= percent < 100:
        raise ValueError(f"percent must be in [0, 100), got {percent}")
    keep = int(len(scores) * (100 - percent) / 100)
    if keep == 0:
        raise ValueError(f"percent must leave one of {len(scores)} filters, got {percent}")
    chosen = torch.ones_like(scores, dtype=torch.bool)
    chosen[scores.argsort(descending=True, stable=True)[:keep]] = False
    return chosen


@torch.no_grad()
def reinitialise(
    optimizer: Optimizer,
    weight: Tensor,
    rows: Tensor,
    *,
    bias: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Start some filters afresh, in place: weight, bias and the optimizer's state.

    They become orthogonal to the span of the other filters and to each other, of the others' mean
    norm; beyond the dimensions left, random directions of that norm. Their bias, Z, momentum and
    whatever else the optimizer keeps of them become zero. What reads them stays.

    Args:
        optimizer: drives `weight`.
        weight: (O, I, ...).
        rows: (O,) bool, the filters to start afresh; not all.
        bias: (O,), the layer's own.
        generator: source of random values; None is torch's default CPU generator.

    Raises:
        ValueError: `rows` is not (O,) bool, or no filter is left.

    Source: docs/method.md, "Re-initialisation".
    """
    if rows.dtype != torch.bool or rows.shape != weight.shape[:1]:
        raise ValueError(
            f"rows must be bool of shape ({len(weight)},), "
            f"got {rows.dtype} of shape {tuple(rows.shape)}"
        )
    if rows.all():
        raise ValueError(f"rows must leave one of {len(rows)} filters, got all")
    rows = rows.to(weight.device)
    kept = weight.detach()[~rows].flatten(1)
    fresh = weight.detach()[rows]
    drawn = draw((len(fresh), kept.shape[1]), fresh, generator)
    weight[rows] = (orthogonal(kept, drawn) * mean_norm(kept)).view_as(fresh)
    if bias is not None:
        bias[rows] = 0.0
    for parameter in (weight,) if bias is None else (weight, bias):
        for state in optimizer.state.get(parameter, {}).values():
            if isinstance(state, Tensor) and state.shape == parameter.shape:
                state[rows] = 0.0
