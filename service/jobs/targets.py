"""What the targets of a growth ask for, and what is wrong with them.

The worker resolves them by the same rules, see `worker.training.recipes.begin`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from service.errors import FieldError
from service.estimate import Cost, training_macs
from service.jobs.refusals import given
from service.spec.growth import GrowthSpec

Costs = Callable[[Mapping[str, int]], Cost]
"""Returns what a network of some widths takes."""

_SHARES = 4096
"""Steps in which all groups are widened alike."""

_FIRST_SHARE = 1 / 32
"""Part of the standard network that growth starts with at most. Source: slbi/growth/stages.py."""

_MOST = 0.5
"""Part of the compute that the last of several targets has at most, unless it is to have a thousand
steps. Source: slbi/growth/stages.py."""

LEFT_TO_TARGETS = ("max_params", "max_macs", "max_latency_ms", "max_epochs")
"""Caps of a growth that its targets take the place of."""

WITH_TARGETS = {"mode": "carry", "when": "fill", "schedule": "constant"}
"""Settings that are of rounds alone, and what they must stay at with targets."""


def limits_of(
    growth: GrowthSpec, standard: Mapping[str, int], costs: Costs
) -> list[dict[str, float]]:
    """Return what every target allows, the shares as multiply-accumulates."""
    whole = costs(standard).macs
    found = []
    for target in growth.targets or ():
        told: dict[str, float] = target.model_dump(exclude_none=True)
        if "share" in told:
            told["max_macs"] = int(told.pop("share") * whole)
        found.append(told)
    return found


def at_first(limits: Mapping[str, float], standard: Cost) -> Mapping[str, float]:
    """Return what the first network may have: no more than the first target, nor than a share."""
    small = {"max_macs": _FIRST_SHARE * standard.macs, "max_params": _FIRST_SHARE * standard.params}
    return {name: min(limit, small.get(name, limit)) for name, limit in limits.items()}


def filled(
    limits: Mapping[str, float], least: Mapping[str, int], most: Mapping[str, int], costs: Costs
) -> Mapping[str, int]:
    """Return about the widest network of a target, all groups alike; the least where none fits.

    Args:
        limits: of one target.
        least: filters that every group has at least.
        most: filters that every group has at most.
        costs: of some widths.
    """

    def at(step: int) -> dict[str, int]:
        return {group: max(least[group], most[group] * step // _SHARES) for group in least}

    low, high = 0, _SHARES
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high) if _excess(limits, costs(at(middle))) is None else (low, middle - 1)
        )
    return at(low)


def needed_macs(growth: GrowthSpec, largest: int, images: int, epochs: int) -> int:
    """Return the multiply-accumulates of training that a growth to targets takes.

    Args:
        growth: with targets.
        largest: multiply-accumulates of the network of the last one, one image.
        images: of an epoch.
        epochs: of tuning, which tell it where nothing else does.
    """
    return growth.max_training_macs or training_macs(largest, images) * epochs


def too_little(
    growth: GrowthSpec, largest: int, *, images: int, batch: int, epochs: int
) -> Iterator[FieldError]:
    """Yield that the last target would not have two steps of growth and two of annealing.

    However compute is shared out: the worker knows how it is, and refuses what that makes too
    little.

    Args:
        growth: with targets.
        largest: multiply-accumulates of the network of the last one, one image.
        images: of an epoch.
        batch: images a step.
        epochs: of tuning, which tell the compute where nothing else does.
    """
    compute = needed_macs(growth, largest, images, epochs)
    hold = given("growth.hold", growth.hold)
    part = _MOST if len(growth.targets or ()) > 1 else 1.0
    if growth.split is not None:
        part = growth.split[-1] / math.fsum(growth.split)
    shorter, needed = min(hold, 1 - hold) * part, 2 * training_macs(largest, min(batch, images))
    if int(shorter * compute) < needed:
        least = math.ceil(needed / shorter)
        message = (
            f"max_training_macs must be at least {least}, so that the last target has two steps of "
            f"growth and two of annealing, got {compute}"
        )
        yield FieldError(pointer="/growth/max_training_macs", code="too_little", message=message)


def wrong_settings(growth: GrowthSpec) -> Iterator[FieldError]:
    """Yield which settings do not go together with targets, or without them."""
    targets = len(growth.targets or ())
    if growth.split is not None and len(growth.split) != targets:
        message = f"split must be a number for each of {targets} targets, got {len(growth.split)}"
        yield FieldError(pointer="/growth/split", code="other_length", message=message)
    if not growth.targets:
        if growth.where == "alike":
            message = "where must be full or gain without targets, got 'alike'"
            yield FieldError(pointer="/growth/where", code="needs_targets", message=message)
        return
    for name in LEFT_TO_TARGETS:
        value = getattr(growth, name)
        if value is not None:
            message = f"{name} must be left to the targets, got {value}"
            yield FieldError(pointer=f"/growth/{name}", code="left_to_targets", message=message)
    for name, needed in WITH_TARGETS.items():
        value = getattr(growth, name)
        if value not in (None, needed):
            message = f"{name} must be {needed} with targets, got {value!r}"
            yield FieldError(pointer=f"/growth/{name}", code="left_to_targets", message=message)


def wrong_targets(
    limits: Sequence[Mapping[str, float]], first: Mapping[str, int], costs: Costs
) -> Iterator[FieldError]:
    """Yield which targets do not rise, and what the first network has too much for the first one.

    Args:
        limits: of every target.
        first: filters of every group that the first network has at least.
        costs: of some widths.
    """
    for position, (before, after) in enumerate(pairwise(limits), 1):
        place = f"/growth/targets/{position}"
        if before.keys() != after.keys():
            message = (
                f"targets must all name the same measures, got {', '.join(after)} behind "
                f"{', '.join(before)}"
            )
            yield FieldError(pointer=place, code="other_measures", message=message)
        elif before == after or any(after[name] < before[name] for name in before):
            message = f"targets must rise, got {_said(after)} behind {_said(before)}"
            yield FieldError(pointer=place, code="must_rise", message=message)
    excess = _excess(limits[0], costs(first))
    if excess is not None:
        name, needed = excess
        message = (
            f"{name} must be at least {needed}, as much as the first network has, got "
            f"{limits[0][name]:g}"
        )
        yield FieldError(pointer="/growth/targets/0", code="start_over_cap", message=message)


def _excess(limits: Mapping[str, float], cost: Cost) -> tuple[str, int] | None:
    """Return a measure of which a network has more than allowed, and how much it has."""
    has = {"max_macs": cost.macs, "max_params": cost.params}
    return next(
        ((name, value) for name, value in has.items() if value > limits.get(name, math.inf)), None
    )


def _said(limits: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in limits.items())
