"""How learning rate, mu and the steps of a round belong together."""

import math


def auto_mu(lr: float, steps: int, norm: float, *, threshold: float = 1.0) -> float:
    """Return the mu under which a filter of norm `norm` enters the support after `steps` steps.

    Until a filter enters, Gamma is 0 and Z is the sum of (a / mu) W over the steps; its norm
    passes the threshold when lr x steps x norm / mu does.

    Args:
        lr: above 0. Under a schedule, its mean over the steps.
        steps: optimizer steps until it shall enter, 1 or more.
        norm: mean norm of the filter over these steps, above 0.
        threshold: the optimizer's, above 0; times sqrt(entries of a filter) under scaling "fan".

    Raises:
        ValueError: an argument is outside its range.

    Source: docs/method.md, "Scale".
    """
    for name, value in (("lr", lr), ("norm", norm), ("threshold", threshold)):
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be a finite number > 0, got {value}")
    if steps < 1:
        raise ValueError(f"steps must be >= 1, got {steps}")
    return lr * steps * norm / threshold
