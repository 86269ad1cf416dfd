"""What Gamma selects: the support of a weight, how full it is, and the weight on it."""

import torch
from torch import Tensor

from slbi.optim.shrink import Structure, group_axis, spread


def support(gamma: Tensor, structure: Structure) -> Tensor:
    """Return where Gamma is not zero, by filter, column or entry.

    Args:
        gamma: (O, I, ...). Sparse twin of a weight, rank 2 or more.
        structure: what enters the support as one.

    Returns:
        bool. (O,) for "filter", (I,) for "column", the shape of `gamma` for "element".

    Raises:
        ValueError: `gamma` is of rank below 2, or `structure` is unknown.

    Source: docs/method.md, "Support".
    """
    if gamma.ndim < 2:
        raise ValueError(f"gamma must be of rank >= 2, got shape {tuple(gamma.shape)}")
    nonzero = gamma != 0
    if structure == "element":
        return nonzero
    axis = group_axis(structure)
    return nonzero.movedim(axis, 0).flatten(1).any(dim=1)


def fill(gamma: Tensor, structure: Structure = "filter") -> float:
    """Return the share of filters (or columns, or entries) in the support, 0 to 1.

    Args:
        gamma: (O, I, ...). Sparse twin of a weight, rank 2 or more.
        structure: what enters the support as one.

    Raises:
        ValueError: as `support`.

    Source: docs/method.md, "Support".
    """
    return support(gamma, structure).double().mean().item()


def w_star(w: Tensor, gamma: Tensor, structure: Structure = "filter") -> Tensor:
    """Return W on the support: every filter (column, entry) outside of it is zero.

    Args:
        w: (O, I, ...).
        gamma: the shape of `w`. Its sparse twin.
        structure: what enters the support as one.

    Returns:
        The shape of `w`, a new tensor.

    Raises:
        ValueError: the shapes differ; else as `support`.

    Source: docs/method.md, "Support".
    """
    if w.shape != gamma.shape:
        raise ValueError(
            f"w and gamma must have one shape, got {tuple(w.shape)} and {tuple(gamma.shape)}"
        )
    return torch.where(spread(support(gamma, structure), structure, w.ndim), w.detach(), 0)
