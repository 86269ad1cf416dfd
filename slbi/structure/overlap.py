"""How alike two supports are."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def overlap(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """Return the mean over all layers of their supports' intersection over their union, 0 to 1.

    Every layer counts alike, however large it is. Two empty supports have nothing in common: 0.

    Args:
        first: layer -> bool.
        second: the same layers, supports of the same shapes.

    Raises:
        ValueError: other layers or shapes, or none at all.

    Source: docs/method.md, "Tickets".
    """
    if first.keys() != second.keys() or not first:
        raise ValueError(
            f"two supports must be of the same layers, got {', '.join(first) or 'none'} "
            f"and {', '.join(second) or 'none'}"
        )
    shares = []
    for name, one in first.items():
        other = second[name].to(one.device)
        if one.shape != other.shape:
            raise ValueError(
                f"supports of {name!r} must have one shape, got {tuple(one.shape)} "
                f"and {tuple(other.shape)}"
            )
        union = int(torch.count_nonzero(one | other))
        # In float64: in float32 19 of 20 is below 0.95.
        shares.append(int(torch.count_nonzero(one & other)) / max(union, 1))
    return math.fsum(shares) / len(shares)  # the same in whatever order the layers come
