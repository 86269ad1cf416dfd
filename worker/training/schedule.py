"""How the learning rate falls over the epochs of tuning."""

import math
from collections.abc import Sequence


def rates(
    schedule: str,
    base: float,
    *,
    epoch: int,
    epochs: int,
    steps: int,
    drops: Sequence[int] = (),
    factor: float = 1.0,
) -> list[float]:
    """Return the learning rate of every step of one epoch.

    cosine falls from `base` to zero, step by step. step is the reference's: `base` to the power 1,
    2 and 3 in the three thirds of the epochs. drops is multiplied with `factor` at every drop that
    lies behind. constant stays.

    Args:
        schedule: cosine, step, drops or constant.
        base: first learning rate.
        epoch: which epoch, from 0.
        epochs: of them in all, more than `epoch`.
        steps: in an epoch.
        drops: numbers of the epochs, from 0, that begin with a drop.
        factor: what is left at a drop, as a share.

    Raises:
        ValueError: the schedule is unknown.

    Source: docs/method.md, "Recipe".
    """
    match schedule:
        case "cosine":
            return [
                base * 0.5 * (1 + math.cos(math.pi * (epoch * steps + step) / (epochs * steps)))
                for step in range(steps)
            ]
        case "step":
            return [base ** (1 + 3 * epoch // epochs)] * steps
        case "drops":
            return [base * factor ** sum(drop <= epoch for drop in drops)] * steps
        case "constant":
            return [base] * steps
        case _:
            raise ValueError(f"schedule must be cosine, step, drops or constant, got {schedule!r}")
