"""What a run has spent of its training compute: one account, the same for every method."""

from typing import Final

from slbi.growth.stages import measuring
from worker.training.recipes.budget import BACKWARD

DOUBLE: Final = 9
"""Forward passes that differentiating a gradient costs: the forward (1), its backward (2), and a
backward through both (2 x 3)."""

SHARE_SCORED: Final = 20
"""Scores may take one part in so many of what is left of a run's compute."""


MEASURED: Final = 16
"""Batches on which the norms of a member are measured anew, at most."""


class Ledger:
    """An account of multiply-accumulates that cannot be overdrawn.

    Args:
        limit: what the run may spend, 1 or more.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be >= 1 multiply-accumulate, got {limit}")
        self.limit = limit
        self.spent = 0

    @property
    def left(self) -> int:
        """Return what may still be spent."""
        return self.limit - self.spent

    def pay(self, macs: int) -> None:
        """Spend, in place.

        Raises:
            ValueError: it is more than is left; nothing is then spent.
        """
        if not 0 <= macs <= self.left:
            raise ValueError(f"macs must be in [0, {self.left}], what is left, got {macs}")
        self.spent += macs


def learned(macs: int, images: int) -> int:
    """Return what it costs to learn from some images once, forward and backward.

    Args:
        macs: of one image, forward.
        images: how many.
    """
    return BACKWARD * macs * images


def ending(number: int) -> tuple[int, int]:
    """Return what some steps' compute pays for at the end of a training: steps, and measuring.

    Args:
        number: of steps.

    Returns:
        Steps that are taken, and batches on which norms are measured anew behind them.
    """
    passes = BACKWARD * number
    batches = min(MEASURED, measuring(passes, 1))
    return (passes - batches) // BACKWARD, batches


def steps(share: int, macs: int, batch: int) -> int:
    """Return how many steps some multiply-accumulates pay for, 0 or more."""
    return max(0, share) // learned(macs, batch)
