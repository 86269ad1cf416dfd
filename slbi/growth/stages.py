"""Growth toward targets: how compute and room are shared out between them.

Each target has a stage. In it the network is widened round by round up to the target, at a constant
learning rate, and annealed to zero: that is the target's network. Growth goes on from there, at a
lower rate where the next stage is short.

Source: docs/method.md, "Growth toward targets".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

FAIR = 1.3
"""Compute of a target below the main one, relative to an equal share. Source:
docs/decisions/0046."""

BELOW = 0.65
"""Part of the compute that targets below the main one have together at most."""

ABOVE = 0.1
"""Likewise those above it, but where that is too little for `ABOVE_STEPS`: then at most half."""

ABOVE_STEPS = 4
"""Steps of a target above the main one, where they are not more."""

SPLIT = (1e-6, 1e6)
"""Least and largest number of a split of the compute that is told."""

FIRST_SHARE = 1 / 32
"""Part of the standard network's cost at which growth starts, where the first target is above it.
Source: docs/decisions/0046."""

LEAST_STEPS = 16
"""Steps that a round has at least, where there are so many: in fewer, new filters hardly move."""

HELD_SHARE = 50
"""One part in so many of what is left of a stage's compute may pay, before the network is annealed,
for measuring the norms of what then becomes a member. Source: docs/method.md."""

MEASURED_SHARE = 20
"""One part in so many of the compute that anneals a network may pay for measuring its norms anew:
in few steps their running statistics do not follow. Source: docs/decisions/0046."""

LEAST_MEASURED = 4
"""Batches on which they are measured at least, as far as a sixth of that compute pays for them."""

CALM_STEPS = 1000
"""Steps with which a stage behind the first one has the full learning rate; fewer do where the
first one had fewer. The main target has so many. Source: docs/decisions/0046."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a network may cost at most; at least one of the first two is told."""

    max_macs: int | None = None
    """Multiply-accumulates of one image, forward."""
    max_params: int | None = None
    max_latency_ms: float | None = None
    """Of one image, ms."""
    asked: bool = True
    """Whether somebody asked for it; else growth only halts there, see `slbi.growth.stations`."""

    def __post_init__(self) -> None:
        if self.max_macs is None and self.max_params is None:
            raise ValueError("a target must have max_macs or max_params, got neither")

    @property
    def limits(self) -> dict[str, int]:
        """Return what it says of costs that are counted, by the names of `plan`."""
        told = {"max_macs": self.max_macs, "max_params": self.max_params}
        return {name: limit for name, limit in told.items() if limit is not None}

    @property
    def size(self) -> int:
        """Return the first of its limits that is counted."""
        return next(iter(self.limits.values()))

    @property
    def measures(self) -> dict[str, float]:
        """Return all that it says."""
        latency = {} if self.max_latency_ms is None else {"max_latency_ms": self.max_latency_ms}
        return {**self.limits, **latency}

    def said(self) -> str:
        """Return it for people."""
        return ", ".join(
            f"{name} {limit:g}" if name == "max_latency_ms" else f"{name} {limit}"
            for name, limit in self.measures.items()
        )


def check_rising(targets: Sequence[Target]) -> None:
    """Refuse targets through which no single network could grow.

    Raises:
        ValueError: one of them does not allow more than the one before in some measure, or less in
            another, or they are not of the same measures.
    """
    for before, after in pairwise(targets):
        old, new = before.measures, after.measures
        if old.keys() != new.keys():
            raise ValueError(
                f"targets must all name the same measures, got {before.said()} and {after.said()}"
            )
        if old == new or any(new[name] < old[name] for name in old):
            raise ValueError(f"targets must rise, got {after.said()} behind {before.said()}")


def check_first(cost: tuple[int, int], first: Target) -> None:
    """Refuse a network to start from that is beyond the first target.

    Args:
        cost: its parameters and multiply-accumulates.
        first: the target.

    Raises:
        ValueError: it is.
    """
    for name, needed in (("max_params", cost[0]), ("max_macs", cost[1])):
        allowed = first.limits.get(name, needed)
        if needed > allowed:
            raise ValueError(
                f"targets.0.{name} must be at least {needed}, as many as start asks for, "
                f"got {allowed}"
            )


def check_split(split: Sequence[float], targets: int) -> None:
    """Refuse a split of the compute that is not a number in `SPLIT` for each target.

    Raises:
        ValueError: it is not.
    """
    least, most = SPLIT
    if len(split) != targets or not all(least <= each <= most for each in split):
        raise ValueError(
            f"split must be a number in [{least:g}, {most:g}] for each of {targets} targets, "
            f"got {split}"
        )


def rooms(
    before: tuple[int, int], target: Target, *, rise: float, most: int
) -> list[dict[str, int]]:
    """Return the limits of each round from a network up to a target, one round at least.

    Each round raises what is limited by the same factor; the last one allows the whole target.

    Args:
        before: parameters and multiply-accumulates of the network.
        target: not below them.
        rise: factor of a round at most, above 1.
        most: rounds at most, 1 or more.
    """
    now = {"max_params": before[0], "max_macs": before[1]}
    limits = target.limits
    factor = max(limit / now[name] for name, limit in limits.items())
    number = max(1, min(most, math.ceil(math.log(max(factor, 1.0)) / math.log(rise))))
    return [
        {
            name: int(now[name] * (limit / now[name]) ** (each / number))
            for name, limit in limits.items()
        }
        for each in range(1, number)
    ] + [limits]


def parts(compute: int, steps: Sequence[int]) -> tuple[float, ...]:
    """Return which parts of the compute some targets get; together they are 1.

    One of them is the main target: the largest one that its part trains for `CALM_STEPS`, else the
    first. What it learns all larger ones inherit, and they have few steps beside. Targets below it
    have `FAIR` equal shares, so that each is above what an equal share alone would buy.

    Args:
        compute: multiply-accumulates of the whole training.
        steps: multiply-accumulates of training of one step at each target, rising.
    """
    return around(main_target(compute, steps) or 0, compute, steps)


def main_target(compute: int, steps: Sequence[int]) -> int | None:
    """Return which target is trained for `CALM_STEPS`, the largest one; None where none is.

    Args:
        compute: multiply-accumulates of the whole training.
        steps: multiply-accumulates of training of one step at each target, rising.
    """
    for main in range(len(steps) - 1, -1, -1):
        if around(main, compute, steps)[main] * compute >= CALM_STEPS * steps[main]:
            return main
    return None


def around(main: int, compute: int, steps: Sequence[int]) -> tuple[float, ...]:
    """Return the parts of targets of which one is the main one; see `parts`.

    Args:
        main: which one; what a step there takes makes no difference.
        compute: multiply-accumulates of the whole training.
        steps: multiply-accumulates of training of one step at each target, rising.
    """
    below = min(FAIR / len(steps), BELOW / main) if main else 0.0
    rest = steps[main + 1 :]
    needed = ABOVE_STEPS * sum(rest) / max(1, compute)
    above = min(0.5, max(ABOVE, needed)) if rest else 0.0
    return (
        *[below] * main,
        1 - main * below - above,
        *[above * step / sum(rest) for step in rest],
    )


def rate(full: float, steps: int, first: int) -> float:
    """Return the learning rate with which a stage begins, for the first one the full rate.

    A later stage begins with an annealed network, and what it shakes up must be annealed again: in
    few steps that must be little, or the larger network ends up worse than what it grew from.

    Args:
        full: learning rate of a training from scratch.
        steps: that the stage's part of the compute pays for at its target.
        first: likewise those of the first stage.
    """
    return full * min(1.0, max(1, steps) / max(1, min(first, CALM_STEPS))) ** 2


def least_compute(
    steps: Sequence[int], *, hold: float, split: Sequence[float] | None = None
) -> int:
    """Return the compute at which the last target has two steps of growth and two of annealing.

    With fewer, nothing would be left to measure its norms.

    Args:
        steps: multiply-accumulates of training of one step at each target, rising.
        hold: share of a target's part before it is annealed, in (0, 1).
        split: see `share`.
    """
    shorter = min(hold, 1 - hold)

    def enough(compute: int) -> bool:
        return int(shorter * _divided(compute, steps, split)[-1] * compute) >= 2 * steps[-1]

    low, high = 0, max(1, steps[-1])
    while not enough(high):
        low, high = high, 2 * high
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high + len(steps)


def share(
    compute: int,
    spent: int,
    steps: Sequence[int],
    served: int,
    split: Sequence[float] | None = None,
) -> int:
    """Return what of the compute that is left belongs to the next target.

    Args:
        compute: multiply-accumulates of the whole training.
        spent: what of it is gone.
        steps: multiply-accumulates of training of one step at each target, rising.
        served: how many of the targets are.
        split: how the compute is shared out, a number for each target; None for `parts`.
    """
    ahead = _divided(compute, steps, split)[served:]
    left = compute - spent
    return int(left * ahead[0] / math.fsum(ahead)) if len(ahead) > 1 else left


def measuring(left: int, batch: int) -> int:
    """Return what of the compute that anneals a network is for measuring its norms anew.

    Args:
        left: multiply-accumulates.
        batch: those of a forward pass of one batch.
    """
    return max(left // MEASURED_SHARE, min(LEAST_MEASURED * batch, left // 6))


def _divided(
    compute: int, steps: Sequence[int], split: Sequence[float] | None
) -> tuple[float, ...]:
    """Return the parts of the compute, as told or by `parts`."""
    if split is None:
        return parts(compute, steps)
    return tuple(each / math.fsum(split) for each in split)
