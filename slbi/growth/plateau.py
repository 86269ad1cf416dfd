"""When learning has come to a plateau: when what is to fall has not fallen for some epochs."""

from collections.abc import Sequence
from typing import Final

LEAST: Final = 0.01
"""Share of a loss by which it must fall to count as better. The least of a loss that only scatters
falls, too, by ever less. Source: docs/decisions/0047."""


def better(loss: float, than: float, least: float = LEAST) -> bool:
    """Return whether a loss is better than another by more than a small share of it."""
    return loss < (1 - least) * than


def stalled(losses: Sequence[float], patience: int, least: float = LEAST) -> bool:
    """Return whether none of the last losses is better than the best one before them.

    Args:
        losses: one an epoch, in order. Up to `patience` of them never stall.
        patience: how many are the last ones, 1 or more.
        least: share by which a loss must fall, [0, 1).

    Raises:
        ValueError: `patience` is below 1.

    Source: docs/method.md, "Growth".
    """
    if patience < 1:
        raise ValueError(f"patience must be >= 1, got {patience}")
    recent, before = losses[-patience:], losses[:-patience]
    return bool(before) and not better(min(recent), min(before), least)
