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

EVEN = 0.25
"""Part of the compute that is shared out for equal steps. Source: docs/decisions/0046."""

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

CALM_STEPS = 1000
"""Steps with which a stage behind the first one has the full learning rate; fewer do where the
first one had fewer. Source: docs/decisions/0046."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a network may cost at most; at least one of the first two is told."""

    max_macs: int | None = None
    """Multiply-accumulates of one image, forward."""
    max_params: int | None = None
    max_latency_ms: float | None = None
    """Of one image, ms."""

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


def parts(targets: Sequence[Target], tilt: float) -> tuple[float, ...]:
    """Return which parts of the compute some targets get; together they are 1.

    Three quarters are shared out by size to the power -tilt: what a small network learns is carried
    on through all larger ones, and there it costs the least. A quarter is shared out by size, for
    equal steps: with too few of them, a large network is not trained whatever it was given.

    Args:
        targets: rising.
        tilt: 0 or more; at 0 the three quarters are shared out equally.
    """
    sizes = [target.size / targets[0].size for target in targets]
    tilted = [size**-tilt for size in sizes]
    return tuple(
        EVEN * size / math.fsum(sizes) + (1 - EVEN) * each / math.fsum(tilted)
        for size, each in zip(sizes, tilted, strict=True)
    )


def rate(full: float, steps: int, first: int) -> float:
    """Return the learning rate with which a stage begins, for the first one the full rate.

    A later stage begins with an annealed network, and what it shakes up must be annealed again: in
    few steps that must be little.

    Args:
        full: learning rate of a training from scratch.
        steps: that the stage's part of the compute pays for at its target.
        first: likewise those of the first stage.
    """
    return full * min(1.0, max(1, steps) / max(1, min(first, CALM_STEPS)))


def least_compute(targets: Sequence[Target], step: int, *, tilt: float, hold: float) -> int:
    """Return the compute at which the last target has a step of growth and one of annealing.

    Args:
        targets: rising.
        step: multiply-accumulates of training of one step of the last target's network.
        tilt: see `parts`.
        hold: share of a target's part before it is annealed, in (0, 1).
    """
    shorter = min(hold, 1 - hold)
    return math.ceil(step / (shorter * parts(targets, tilt)[-1])) + len(targets)


def share(left: int, targets: Sequence[Target], served: int, tilt: float) -> int:
    """Return what of the compute that is left belongs to the next target.

    Args:
        left: multiply-accumulates of training.
        targets: all of them, rising.
        served: how many of them are.
        tilt: see `parts`.
    """
    ahead = parts(targets, tilt)[served:]
    return int(left * ahead[0] / math.fsum(ahead)) if len(ahead) > 1 else left
