"""Proximal maps: from the accumulator Z to its sparse image, by group or by entry.

A group is scaled as a whole, so the maps return the number a group is multiplied with and leave the
product to whoever needs it. The letters O, I, H, W are the axes of a weight.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

Structure = Literal["filter", "column", "element"]
"""What enters the support as one: an output filter, an input column, or a single entry."""

Scaling = Literal["none", "fan"]
"""How the threshold of a group follows its size: not at all, or as the root of its entries."""

STRUCTURES: tuple[Structure, ...] = get_args(Structure)
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)

_GROUP_AXIS: dict[str, int] = {"filter": 0, "column": 1}


def group_axis(structure: Structure) -> int:
    """Return the axis that counts the groups: 0 for filters, 1 for columns.

    Raises:
        ValueError: `structure` makes no groups.
    """
    if structure not in _GROUP_AXIS:
        raise ValueError(f"structure must be one of {', '.join(_GROUP_AXIS)}, got {structure!r}")
    return _GROUP_AXIS[structure]


def spread(chosen: Tensor, structure: Structure, rank: int) -> Tensor:
    """Return a support as a view that can be broadcast over its weight.

    Args:
        chosen: (O,) for "filter", (I,) for "column", else of the weight's shape.
        structure: what enters the support as one.
        rank: of the weight.
    """
    if structure == "element":
        return chosen
    shape = [1] * rank
    shape[group_axis(structure)] = -1
    return chosen.view(shape)


def group_norms(tensor: Tensor, structure: Structure) -> Tensor:
    """Return the Euclidean norm of each filter or column.

    Args:
        tensor: (O, I, ...). Rank 2 or more.
        structure: "filter" or "column".

    Returns:
        (O, 1, ...) or (1, I, 1, ...), of the rank of `tensor`, ready to be multiplied with it.
    """
    axis = group_axis(structure)
    others = [dim for dim in range(tensor.ndim) if dim != axis]
    norms: Tensor = torch.linalg.vector_norm(tensor, dim=others, keepdim=True)
    return norms


def group_threshold(z: Tensor, structure: Structure, threshold: float, scaling: Scaling) -> float:
    """Return the norm that a group of `z` must pass to enter the support.

    Source: docs/method.md, "Variants": under "fan", `threshold` x sqrt(entries of a group).
    """
    if scaling == "none":
        return threshold
    return threshold * math.sqrt(z.numel() / z.shape[group_axis(structure)])


def group_scales(
    zs: Sequence[Tensor], structure: Structure, threshold: float, scaling: Scaling
) -> list[Tensor]:
    """Return what the group soft threshold multiplies each group with: max(0, 1 - t / norm).

    A group of norm zero gets 0, without a NaN.

    Args:
        zs: each (O, I, ...).
        structure: "filter" or "column".
        threshold: t of a group, above 0, before `scaling`.
        scaling: see `group_threshold`.

    Returns:
        Shaped as by `group_norms`, in [0, 1). Above 0 where the group is in the support.

    Source: docs/method.md, "Proximal maps".
    """
    thresholds = [group_threshold(z, structure, threshold, scaling) for z in zs]
    scales = [group_norms(z, structure) for z in zs]
    torch._foreach_reciprocal_(scales)
    torch._foreach_mul_(scales, [-t for t in thresholds])
    torch._foreach_add_(scales, 1)
    torch._foreach_clamp_min_(scales, 0)
    return scales


def shrink(z: Tensor, structure: Structure, threshold: float, scaling: Scaling = "none") -> Tensor:
    """Return prox(Z): each group, or each entry, moved towards 0 by the threshold.

    Args:
        z: (O, I, ...).
        structure: what is moved as one.
        threshold: above 0.
        scaling: see `group_threshold`; without meaning for entries.

    Source: docs/method.md, "Proximal maps".
    """
    if structure == "element":
        return torch.nn.functional.softshrink(z, threshold)
    (scale,) = group_scales([z], structure, threshold, scaling)
    return z * scale


def selected(
    z: Tensor, structure: Structure, threshold: float, scaling: Scaling = "none"
) -> Tensor:
    """Return where prox(Z) is not zero, without forming it.

    Returns:
        bool. (O,) for "filter", (I,) for "column", the shape of `z` for "element".
    """
    if structure == "element":
        return z.abs() > threshold
    (scale,) = group_scales([z], structure, threshold, scaling)
    return scale.flatten() > 0
