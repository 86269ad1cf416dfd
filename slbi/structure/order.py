"""Entry order: when each filter or entry was first in the support, and the scores to prune by."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

NEVER = -1
"""Entry of what has not been in the support yet."""

REFERENCE_NEVER = 2000
"""Epoch that what never entered counts as in the score. Source: docs/method.md, "Entry order"."""


class EntryOrder:
    """First epoch at which each filter (column, entry) of each weight was in its support.

    An entry once written stays, whether or not the support is left again.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Tensor] = {}

    def update(self, epoch: int, supports: Mapping[str, Tensor]) -> None:
        """Write down, in place, what is in the support for the first time.

        A support longer than the last one of its name belongs to a widened weight: the new filters
        are those at the end and have not been in the support before.

        Args:
            epoch: 0 or more.
            supports: name of a weight -> bool, of the shape that `SLBI.support` gives.

        Raises:
            ValueError: `epoch` is negative, or a support is not bool or has shrunk; nothing is
                then written.
        """
        if epoch < 0:
            raise ValueError(f"epoch must be >= 0, got {epoch}")
        entries = {name: self._widened(name, support) for name, support in supports.items()}
        for name, support in supports.items():
            entry = entries[name]
            entry[support.to(entry.device) & (entry == NEVER)] = epoch
        self._entries |= entries

    def entry(self, name: str) -> Tensor:
        """Return the entry epochs of one weight, int64, a copy; `NEVER` where there is none.

        Raises:
            ValueError: no support of that name was seen.
        """
        if name not in self._entries:
            known = ", ".join(self._entries) or "none"
            raise ValueError(f"name must be one of those updated ({known}), got {name!r}")
        return self._entries[name].clone()

    def forget(self, name: str, which: Tensor) -> None:
        """Count filters (columns, entries) of one weight as never entered again, in place.

        Args:
            name: of a weight whose support was seen.
            which: bool, of the shape of its support.

        Raises:
            ValueError: no support of that name was seen, or `which` does not fit.
        """
        entry = self.entry(name)
        if which.dtype != torch.bool or which.shape != entry.shape:
            raise ValueError(
                f"which must be bool of shape {tuple(entry.shape)}, "
                f"got {which.dtype} of shape {tuple(which.shape)}"
            )
        self._entries[name] = entry.masked_fill(which.to(entry.device), NEVER)

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of every weight's entry epochs, by name."""
        return {name: entry.clone() for name, entry in self._entries.items()}

    def load_state_dict(self, entries: Mapping[str, Tensor]) -> None:
        """Take over, in place, what `state_dict` returned; copied, not shared."""
        self._entries = {name: entry.clone() for name, entry in entries.items()}

    def _widened(self, name: str, support: Tensor) -> Tensor:
        """Return a copy of the entry epochs of `name`, as large as `support`."""
        if support.dtype != torch.bool:
            raise ValueError(f"support of {name!r} must be bool, got {support.dtype}")
        entry = torch.full(support.shape, NEVER, dtype=torch.int64)
        old = self._entries.get(name, entry)
        grown = old.ndim == support.ndim and all(
            before <= now for before, now in zip(old.shape, support.shape, strict=True)
        )
        if not grown:
            raise ValueError(
                f"support of {name!r} must be at least as large as before {tuple(old.shape)}, "
                f"got {tuple(support.shape)}"
            )
        entry[tuple(slice(length) for length in old.shape)] = old
        return entry


Ordering = Callable[[Tensor, Tensor], Tensor]
"""Makes scores, the higher the later pruned, of norms and entry epochs of one shape."""


def prune_score(norms: Tensor, entry: Tensor) -> Tensor:
    """Return norm - entry epoch: the higher, the later it is pruned.

    What never entered counts as epoch 2000, or as one after the latest entry if that is later. A
    norm lead of more than 1 beats an epoch.

    Args:
        norms: of the filters, or the absolute value of the entries, of W.
        entry: of the same shape. Epochs by `EntryOrder.entry`.

    Raises:
        ValueError: the shapes differ.

    Source: docs/method.md, "Entry order".
    """
    _check_pair(norms, entry)
    entry = entry.to(norms.device)
    never = torch.clamp(entry.max() + 1, min=REFERENCE_NEVER)
    return norms - torch.where(entry == NEVER, never, entry)


def prune_rank(norms: Tensor, entry: Tensor) -> Tensor:
    """Return places in the lexicographic order: entry epoch first, then norm.

    The higher, the later it is pruned, as for `prune_score`; but no norm beats an epoch.

    Args:
        norms: of the filters, or the absolute value of the entries, of W.
        entry: of the same shape. Epochs by `EntryOrder.entry`.

    Returns:
        int64, of the same shape, from 0. Equal where entry and norm are equal.

    Raises:
        ValueError: the shapes differ.

    Source: docs/method.md, "Entry order".
    """
    _check_pair(norms, entry)
    never = torch.iinfo(torch.int64).max
    epochs = entry.to(norms.device).masked_fill(entry.to(norms.device) == NEVER, never).flatten()
    sizes = norms.detach().flatten()
    order = sizes.argsort(stable=True)
    order = order[epochs[order].argsort(descending=True, stable=True)]
    epochs, sizes = epochs[order], sizes[order]
    differs = (epochs[1:] != epochs[:-1]) | (sizes[1:] != sizes[:-1])
    rank = torch.zeros_like(epochs)
    rank[order[1:]] = differs.cumsum(0)
    return rank.view(norms.shape)


def _check_pair(norms: Tensor, entry: Tensor) -> None:
    if norms.shape != entry.shape:
        raise ValueError(
            f"norms and entry must have one shape, got {tuple(norms.shape)} "
            f"and {tuple(entry.shape)}"
        )
