"""Entry order: when each filter or entry was first in the support, and the score it prunes by."""

from collections.abc import Mapping

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
    if norms.shape != entry.shape:
        raise ValueError(
            f"norms and entry must have one shape, got {tuple(norms.shape)} "
            f"and {tuple(entry.shape)}"
        )
    entry = entry.to(norms.device)
    never = torch.clamp(entry.max() + 1, min=REFERENCE_NEVER)
    return norms - torch.where(entry == NEVER, never, entry)
