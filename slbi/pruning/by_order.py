"""Which filters and entries stay when a percentage of each tensor goes, the lowest scores first."""

import math
from collections.abc import Mapping

from torch import Tensor

from slbi.optim.shrink import spread


def prune_threshold(scores: Tensor, percent: float) -> float:
    """Return the score below which `percent` of the scores lie, by linear interpolation.

    It is numpy's percentile, for any number of scores.

    Args:
        scores: any shape, at least one.
        percent: 0 to 100.

    Raises:
        ValueError: `percent` is outside its range, or there is no score.

    Source: docs/method.md, "Prune by order".
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must be in [0, 100], got {percent}")
    if scores.numel() == 0:
        raise ValueError("scores must be at least one, got none")
    flat = scores.detach().double().flatten()
    place = (len(flat) - 1) * (percent / 100)
    below = math.floor(place)
    share = place - below
    low = flat.kthvalue(below + 1).values.item()
    high = flat.kthvalue(min(below + 2, len(flat))).values.item()
    # numpy counts from the nearer end, and what is strictly below must be the same to the last bit.
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)


def kept_by_order(scores: Tensor, percent: float) -> Tensor:
    """Return what stays: filters not below the threshold, entries above it.

    So 0 percent takes one entry, and 100 percent leaves one filter, as in the reference.

    Args:
        scores: (O,) of filters, or of higher rank, of entries; see `prune_score`, `prune_rank`.
        percent: 0 to 100.

    Returns:
        bool, of the shape of `scores`.

    Raises:
        ValueError: as `prune_threshold`.

    Source: docs/method.md, "Prune by order".
    """
    threshold = prune_threshold(scores, percent)
    exact = scores.double()
    return exact >= threshold if scores.ndim == 1 else exact > threshold


def masks_by_order(
    parameters: Mapping[str, Tensor],
    scores: Mapping[str, Tensor],
    percent: float,
    *,
    bias: bool = False,
) -> dict[str, Tensor]:
    """Return what stays of every weight that has scores; each has a threshold of its own.

    Args:
        parameters: by name, as `dict(net.named_parameters())`.
        scores: name of a weight -> (O,) of its filters or scores of its entries, of its shape.
        percent: 0 to 100.
        bias: let a filter's own bias go with it, where the layer has one; the biases of a layer
            pruned by entries always stay.

    Returns:
        Name of a weight or bias -> bool, can be broadcast over it; see `Originals.zero_outside`.

    Raises:
        ValueError: there is no such parameter, or its scores do not fit; else as `prune_threshold`.

    Source: docs/method.md, "Prune by order".
    """
    masks: dict[str, Tensor] = {}
    for name, score in scores.items():
        weight = _weight(parameters, name, score)
        kept = kept_by_order(score, percent).to(weight.device)
        if score.ndim > 1:
            masks[name] = kept
            continue
        masks[name] = spread(kept, "filter", weight.ndim)
        if bias and own_bias(name) in parameters:
            masks[own_bias(name)] = kept
    return masks


def own_bias(name: str) -> str:
    """Return the name that the bias of a layer has, or would have, beside its weight."""
    return f"{name.removesuffix('weight')}bias"


def _weight(parameters: Mapping[str, Tensor], name: str, score: Tensor) -> Tensor:
    if name not in parameters:
        raise ValueError(f"name must be one of {', '.join(parameters)}, got {name!r}")
    weight = parameters[name]
    if tuple(score.shape) not in {(len(weight),), tuple(weight.shape)}:
        raise ValueError(
            f"scores of {name!r} must be of shape {(len(weight),)} or {tuple(weight.shape)}, "
            f"got {tuple(score.shape)}"
        )
    return weight
