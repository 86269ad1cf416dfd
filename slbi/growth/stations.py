"""A way station: a network on the way to a target that is larger than the compute can train well.

Compute is worth most at one size, where it buys both capacity and steps enough to use it. Where
that size is far below the next target, growth halts there: most of the compute is spent on a
network of that size, which is annealed, and the target's network begins with what it has learned.

Source: docs/method.md, "Growth toward targets".
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from slbi.growth.stages import FIRST_SHARE, Target, around, least_compute, main_target

STEPS = 2000
"""Steps of a network at a station, where growth does not start from a larger one. Source:
docs/decisions/0046."""

FAR = 2.5
"""Multiply-accumulates of a target relative to those of a station on the way to it, at least;
likewise of a station relative to the target before it. Source: docs/decisions/0046."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Station:
    """Where growth halts."""

    before: int
    """On the way to which target, from 0."""
    macs: int
    """Multiply-accumulates of one image that a network has there at most."""


def station(
    compute: int, sizes: Sequence[int], least: int, *, passes: int, hold: float
) -> Station | None:
    """Return where growth halts; None where a target is near what the compute trains well.

    Args:
        compute: multiply-accumulates of the whole training.
        sizes: multiply-accumulates of one image of a network that fills each target, rising.
        least: those of a network that growth may halt at, at least.
        passes: forward passes of one image that a step of training costs, backward ones included.
        hold: share of a target's part before it is annealed, in (0, 1).
    """
    steps = [passes * size for size in sizes]
    main = main_target(compute, steps)
    before = 0 if main is None else main + 1
    if before == len(sizes):
        return None
    part = around(before, compute, [*steps[:before], 0, *steps[before:]])[before]
    macs = int(part * compute) // (STEPS * passes)
    if main is None:
        macs = max(least, macs)
    elif macs < FAR * sizes[main]:
        return None
    if sizes[before] < FAR * macs:
        return None
    told = [*steps[:before], passes * macs, *steps[before:]]
    if compute < least_compute(told, hold=hold):
        return None
    return Station(before=before, macs=macs)


def least_station(first: int, standard: int) -> int:
    """Return the multiply-accumulates that a station has at least: those that growth starts with.

    Args:
        first: of the network that growth starts from.
        standard: of the standard network.
    """
    return max(first, int(FIRST_SHARE * standard))


def on_the_way(targets: Sequence[Target], halt: Station | None) -> tuple[Target, ...]:
    """Return targets with the station among them.

    Args:
        targets: rising.
        halt: the station, if there is one.
    """
    if halt is None:
        return tuple(targets)
    before = halt.before
    there = replace(targets[before], max_macs=halt.macs, asked=False)
    return (*targets[:before], there, *targets[before:])


def asked(targets: Sequence[Target]) -> int:
    """Return how many targets somebody asked for, the station not among them."""
    return sum(target.asked for target in targets)


def numbered(targets: Sequence[Target], index: int) -> int:
    """Return the number, from 1, of the target that one is, or that a station is on the way to.

    Args:
        targets: with the station among them.
        index: which one, from 0.
    """
    return 1 + asked(targets[:index])


def called(targets: Sequence[Target], index: int) -> str:
    """Return what a target is called, "target 2 of 3" or "station before target 2 of 3".

    Args:
        targets: with the station among them.
        index: which one, from 0.
    """
    name = f"target {numbered(targets, index)} of {asked(targets)}"
    return name if targets[index].asked else f"station before {name}"
