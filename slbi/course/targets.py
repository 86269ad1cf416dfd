"""Growth toward targets: a network that grows from one to the next, annealed at each of them.

Source: docs/method.md, "Growth toward targets".
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from slbi.course.course import MEASURED, Course
from slbi.course.training import BACKWARD, Feed
from slbi.growth.choice import Limits, alike, first, fitted, levelled, toward
from slbi.growth.pairs import PairedSeed
from slbi.growth.plan import Cost, Plan
from slbi.growth.stages import (
    HELD_SHARE,
    LEAST_STEPS,
    Target,
    check_first,
    check_rising,
    least_compute,
    measuring,
    rate,
    rooms,
    share,
)
from slbi.growth.stations import called, least_station, numbered, on_the_way, station
from slbi.growth.twins import round_mu
from slbi.nets.widths import Widths


def resolved(told: Sequence[float | Target], macs: int) -> tuple[Target, ...]:
    """Return targets with shares as multiply-accumulates.

    Args:
        told: shares, in (0, 1], and targets.
        macs: what the shares are of.

    Raises:
        ValueError: they do not rise.
    """
    targets = tuple(
        each if isinstance(each, Target) else Target(max_macs=int(each * macs)) for each in told
    )
    check_rising(targets)
    return targets


def first_widths(
    standard: Widths, target: Target, cost: Cost, closed: Collection[str] = ()
) -> Widths:
    """Return the widths that growth starts from: a small network, all groups alike.

    Args:
        standard: widths of the network given.
        target: the first one.
        cost: parameters and multiply-accumulates at some widths.
        closed: groups that are never widened.

    Raises:
        ValueError: the target is below the narrowest network.
    """
    try:
        return first(standard, target, cost=cost, closed=closed)
    except ValueError as error:
        raise ValueError(f"targets.0: {error}") from error


def grow_to_targets(
    course: Course,
    targets: Sequence[Target],
    *,
    standard: Widths,
    generator: torch.Generator,
) -> str:
    """Grow a network through its targets, in place, and return why that ended.

    Args:
        course: at its beginning.
        targets: rising.
        standard: widths of the network given.
        generator: source of new filters' weights.

    Raises:
        ValueError: the network is beyond the first target, or the compute is too little.
    """
    check_first(course.cost(course.found.widths), targets[0])
    compute, passes = _compute(course, targets[-1], standard), BACKWARD * max(course.sizes)
    sizes = [_most(course, target, standard) for target in targets]
    _check(course, compute, [passes * size for size in sizes])
    hold, halt = course.settings.hold, None
    if course.settings.split is None:
        least = least_station(course.macs, course.cost(standard)[1])
        halt = station(compute, sizes, least, passes=passes, hold=hold)
    halts = on_the_way(targets, halt)
    way = _Way(
        course=course,
        targets=halts,
        steps=tuple(passes * _most(course, target, standard) for target in halts),
        compute=compute,
        standard=standard,
        feed=Feed(batches=course.batches, sizes=course.sizes),
        generator=generator,
    )
    for number in range(len(halts)):
        way.serve(number)
    return f"all {len(targets)} targets are served"


def _check(course: Course, compute: int, steps: Sequence[int]) -> None:
    """Refuse compute that is too little.

    Raises:
        ValueError: it is.
    """
    settings = course.settings
    least = least_compute(steps, hold=settings.hold, split=settings.split)
    if compute < least:
        raise ValueError(
            f"compute must be at least {least}, so that the last target has two steps of growth "
            f"and two of annealing, got {compute}"
        )


def _compute(course: Course, last: Target, standard: Widths) -> int:
    """Return the multiply-accumulates of the whole training."""
    if course.settings.compute is not None:
        return course.settings.compute
    epochs = course.settings.tune_epochs
    return BACKWARD * _most(course, last, standard) * sum(course.sizes) * epochs


def _most(course: Course, target: Target, standard: Widths) -> int:
    """Return the multiply-accumulates of a network that fills a target, all groups alike."""
    if target.max_macs is not None:
        return target.max_macs
    return course.cost(alike(standard, cost=course.cost, fits=target.limits))[1]


@dataclass(frozen=True, kw_only=True)
class _Way:
    """The way of a course through its targets."""

    course: Course
    targets: tuple[Target, ...]
    """Rising, a station among them."""
    steps: tuple[int, ...]
    """Multiply-accumulates of training of one step of a network that fills each target."""
    compute: int
    """Multiply-accumulates of the whole training."""
    standard: Widths
    feed: Feed
    generator: torch.Generator

    def serve(self, number: int) -> None:
        """Grow the network up to a target and anneal it there, in place."""
        course, settings, target = self.course, self.course.settings, self.targets[number]
        part = share(self.compute, course.spent, self.steps, number, settings.split)
        step = self.steps[number]
        lr = rate(settings.lr, part // step, self._first_steps())
        held = int(part * settings.hold)
        held_end, end = course.spent + held, course.spent + part
        before = course.cost(course.found.widths)
        most = max(1, held // (LEAST_STEPS * step))
        allowed = rooms(before, target, rise=settings.rise, most=most)
        aim = self._aim(target)
        for which, room in enumerate(allowed):
            self._widen(number, self._plan(room, aim))
            left = held_end - course.spent
            self._grow(lr, course.spent + left // (len(allowed) - which))
        self._add_held(number, end)
        self._anneal(number, lr, end)

    def _first_steps(self) -> int:
        """Return how many steps the first target's part of the compute pays for."""
        return share(self.compute, 0, self.steps, 0, self.course.settings.split) // self.steps[0]

    def _widen(self, number: int, wider: Plan) -> None:
        """Widen the network for a round, in place."""
        course = self.course
        where = course.settings.settled_where
        told = f"toward {called(self.targets, number)}, {where}"
        begun = course.steps
        if wider.changes:
            course.widen(
                wider.widths,
                wider.changes,
                reason=lambda fill: f"{told}; fill {fill:.2f}",
                seed=PairedSeed(),
                generator=self.generator,
            )
        # The path counts a widening to the round before it.
        course.round += bool(begun or wider.changes)

    def _aim(self, target: Target) -> Widths | None:
        """Return the widths that all groups alike have at a target; None if groups are chosen."""
        if self.course.settings.settled_where != "alike":
            return None
        limits = self._limits(target.limits)
        return levelled(self.course.found.widths, self.standard, **limits).widths

    def _plan(self, room: Mapping[str, int], aim: Widths | None) -> Plan:
        """Return what fills a room, on the way to some widths or where groups are full."""
        widths, limits = self.course.found.widths, self._limits(room)
        if aim is None:
            return fitted(widths, self.course.asking(), **limits)
        return toward(widths, aim, **limits)

    def _limits(self, room: Mapping[str, int]) -> Limits:
        settings = self.course.settings
        return {
            "multiple": settings.multiple,
            "max_width": settings.max_width,
            "closed": self.course.closed,
            "cost": self.course.cost,
            "max_params": room.get("max_params"),
            "max_macs": room.get("max_macs"),
        }

    def _grow(self, lr: float, end: int) -> None:
        """Train the network at a constant rate as far as an amount of compute goes, in place."""
        course, settings = self.course, self.course.settings
        steps = self._steps(end)
        for group in course.optimizer.param_groups:
            group["lr"] = lr
            if steps and settings.mu is None:
                group["mu"] = round_mu(settings.lr, steps) / settings.settled_pull
        self._leg("grow", steps, end)

    def _add_held(self, number: int, end: int) -> None:
        """Add the network before it is annealed, its norms measured anew where that is cheap.

        Not at a station: the network there is on the way itself.
        """
        course = self.course
        if not self.targets[number].asked:
            return
        net = copy.deepcopy(course.net)
        batches = self._batches((end - course.spent) // HELD_SHARE)
        if batches:
            course.measure(net, course.found, batches)
        course.add(net, course.found, "grown", f"before target {numbered(self.targets, number)}")

    def _anneal(self, number: int, lr: float, end: int) -> None:
        """Let the rate fall to zero and add the network to the family, in place."""
        course = self.course
        left = max(0, end - course.spent)
        batches = self._batches(measuring(left, course.macs * max(course.sizes)))
        fallen = end - course.macs * sum(course.sizes[:batches])
        steps = self._steps(fallen)
        for group in course.optimizer.param_groups:
            group["initial_lr"] = group["lr"] = lr
        fall = CosineAnnealingLR(course.optimizer, max(1, steps))
        self._leg("anneal", steps, fallen, schedule=fall)
        if batches:
            course.measure(course.net, course.found, batches)
        target = self.targets[number]
        origin = f"{called(self.targets, number)}: {target.said()}"
        course.add(course.net, course.found, "tuned" if target.asked else "grown", origin)

    def _batches(self, compute: int) -> int:
        """Return on how many batches the norms of the network can be measured with so much."""
        course = self.course
        inputs = max(0, compute) // course.macs
        return min(MEASURED, len(course.sizes), inputs // max(course.sizes))

    def _steps(self, end: int) -> int:
        """Return how many steps of the network as it is an amount of compute allows."""
        return self.feed.steps(self._inputs(end))

    def _inputs(self, end: int) -> int:
        """Return how many inputs the network as it is may see before so much is spent."""
        return max(0, end - self.course.spent) // (BACKWARD * self.course.macs)

    def _leg(
        self,
        phase: Literal["grow", "anneal"],
        steps: int,
        end: int,
        *,
        schedule: LRScheduler | None = None,
    ) -> None:
        """Train for some steps, a point of the path for each epoch that they touch, in place.

        It ends early rather than to spend more than `end`, where epochs are not all of one size.
        """
        course, feed = self.course, self.feed
        while steps > 0 and feed.fits(inputs := self._inputs(end)):
            length = min(steps, feed.left)
            course.epochs += length == feed.left
            course.train(phase, feed.take(length, inputs), schedule=schedule)
            steps -= length
