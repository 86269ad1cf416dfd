"""Take the best filters out of a weight, and the columns that read them."""

from collections.abc import Mapping

import torch
from torch import Tensor


def best(scores: Tensor, count: int) -> Tensor:
    """Return the indices of the highest scores, best first; of equals the first.

    Args:
        scores: (O,).
        count: 0 to O.

    Returns:
        (count,) int64.

    Raises:
        ValueError: `count` is outside its range, or `scores` not 1-D.
    """
    if scores.ndim != 1:
        raise ValueError(f"scores must be 1-D, got shape {tuple(scores.shape)}")
    if not 0 <= count <= len(scores):
        raise ValueError(f"count must be in [0, {len(scores)}], got {count}")
    return scores.argsort(descending=True, stable=True)[:count]


def best_part(weight: Tensor, scores: Tensor, count: int) -> Tensor:
    """Return the best filters of a weight; of one scored by entries, the best columns.

    A column is as good as the best of its entries, as it enters a network with the first of them.

    Args:
        weight: (O, I, ...).
        scores: (O,), or of the shape of `weight`.
        count: 0 to O, or to I.

    Returns:
        (count, I, ...), or (O, count, ...); best first, a copy.

    Raises:
        ValueError: as `best`.

    Source: docs/method.md, "Extraction".
    """
    if scores.ndim == 1:
        return weight.detach()[best(scores, count).to(weight.device)]
    by_column = scores.movedim(1, 0).flatten(1).amax(1)  # (I,)
    return weight.detach()[:, best(by_column, count).to(weight.device)]


def best_with_readers(
    weight: Tensor, reader: Tensor, scores: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Return the best filters of a weight, and the columns of another that read them.

    Args:
        weight: (O, I, ...).
        reader: (P, O x block, ...): behind a flatten, `block` consecutive columns read one filter.
        scores: (O,).
        count: 0 to O.

    Returns:
        (count, I, ...) and (P, count x block, ...); best first, copies.

    Raises:
        ValueError: the reader's columns are not whole blocks of the filters; else as `best`.

    Source: docs/method.md, "Extraction".
    """
    chosen, reads = best(scores, count), reader.shape[1]
    if reads % len(weight):
        raise ValueError(f"reader must have a multiple of {len(weight)} columns, got {reads}")
    blocks = torch.arange(reads).view(len(weight), -1)
    columns = blocks[chosen.cpu()].flatten().to(reader.device)
    return weight.detach()[chosen.to(weight.device)], reader.detach()[:, columns]


def next_weight(parameters: Mapping[str, Tensor], name: str) -> str:
    """Return the name of the next weight of rank 2 or more behind a parameter, in their order.

    In a chain of layers it is the one that reads its filters.

    Raises:
        ValueError: there is no such parameter, or no weight behind it.
    """
    names = list(parameters)
    behind = names[names.index(name) + 1 :] if name in parameters else []
    for later in behind:
        if parameters[later].ndim >= 2:
            return later
    raise ValueError(f"name must be of a parameter with a weight behind it, got {name!r}")
