"""Growth toward targets: a network that grows from one to the next, annealed at each of them.

Source: docs/method.md, "Growth toward targets".
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from slbi.growth.choice import Limits, alike, fitted, levelled, toward
from slbi.growth.plan import Change, Plan, Slow
from slbi.growth.rule import due, fills, shared
from slbi.growth.stages import (
    HELD_SHARE,
    LEAST_STEPS,
    Target,
    check_first,
    least_compute,
    measuring,
    rate,
    rooms,
    share,
)
from slbi.growth.stations import (
    Station,
    asked,
    called,
    least_station,
    numbered,
    on_the_way,
    station,
)
from slbi.growth.twins import round_mu
from slbi.nets.backbone import Backbone
from worker.training import backbones
from worker.training.config import GrowConfig
from worker.training.count import Stopwatch
from worker.training.data.batches import Batches
from worker.training.groups import teams
from worker.training.recipes.begin import (
    DEFAULT_THRESHOLD,
    limits,
    targets,
    thresholds,
)
from worker.training.recipes.budget import BACKWARD, Budget
from worker.training.recipes.family import MEASURED, Family
from worker.training.recipes.pace import within_latency
from worker.training.recipes.run import Run
from worker.training.recipes.widening import (
    at_new_rate,
    left,
    most_gaining,
    records,
    settle,
    widen_run,
)
from worker.training.schedule import rates

LEG = "leg"
"""Note of a run: its leg under way."""

STATION = "station"
"""Note of a run: where it halts on its way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leg:
    """What a run trains in one piece: a round at a constant rate, or the annealing for a target."""

    target: int
    """Which one it is on the way to, from 0; a station counts."""
    rooms: list[dict[str, int]]
    """Limits of every round of this target."""
    round: int
    """Which of them, from 0."""
    begun: int
    """Step before its first one."""
    steps: int
    rate: float
    """Learning rate of the rounds, and of the first step of annealing."""
    held_end: int
    """Training multiply-accumulates of the run at which the rate begins to fall."""
    end: int
    """Likewise, at which the target is served."""


def grow_to_targets(config: GrowConfig, run: Run, family: Family, budget: Budget) -> None:
    """Serve the targets that are left, in place of `run`.

    Between the last step of a leg and the first of the next one nothing is kept: an attempt that
    ends there is followed by one that does all of it again, from the same numbers.

    Args:
        config: what to do.
        run: anywhere on its way.
        family: writes a member for each target, and two from before its annealing.
        budget: how late it may become.
    """
    note = run.notes.get(STATION)
    halt = None if note is None else Station(**note)
    halts = on_the_way(targets(config.growth, run.net), halt)
    course = _Course(config=config, run=run, family=family, budget=budget, targets=halts)
    while run.end is None:
        if LEG not in run.notes:
            course.stage(0)
            continue
        leg = Leg(**run.notes[LEG])
        if run.step < leg.begun + leg.steps:
            course.train(leg)
        elif run.phase == "anneal":
            course.serve(leg)
        elif leg.round + 1 < len(leg.rooms):
            course.grow(replace(leg, round=leg.round + 1))
        else:
            course.anneal(leg)


def compute(config: GrowConfig, net: Backbone, images: int) -> int:
    """Return the training multiply-accumulates that all targets together get.

    Args:
        config: of the run.
        net: of the same spec, whatever its widths.
        images: of an epoch.
    """
    cap = config.growth.max_training_macs
    if cap is not None:
        return cap
    last = targets(config.growth, net)[-1]
    return BACKWARD * _most(net, last) * images * config.tune.epochs


def notes(config: GrowConfig, net: Backbone, batches: Batches) -> dict[str, Any]:
    """Return what a run to its targets notes before its first step: where it halts, if anywhere.

    Args:
        config: of the run.
        net: its first network.
        batches: of the run.

    Raises:
        ValueError: the first network is beyond the first target, or a target's part of the compute
            does not pay for two steps of growth and two of annealing.
    """
    wanted = targets(config.growth, net)
    check_first(net.cost(), wanted[0])
    whole, growth = compute(config, net, batches.images), config.growth
    sizes, passes = [_most(net, target) for target in wanted], BACKWARD * batches.batch
    steps = [passes * size for size in sizes]
    least = least_compute(steps, hold=growth.hold, split=growth.split)
    if whole < least:
        raise ValueError(
            f"max_training_macs must be at least {least}, so that the last target has two steps of "
            f"growth and two of annealing, got {whole}"
        )
    if growth.split is not None:
        return {}
    standard = backbones.standard_widths(net.name, net.size, net.stem)
    least = least_station(net.cost()[1], net.cost(standard)[1])
    halt = station(whole, sizes, least, passes=passes, hold=growth.hold)
    return {} if halt is None else {STATION: asdict(halt)}


def _most(net: Backbone, target: Target) -> int:
    """Return the multiply-accumulates of a network that fills a target, all groups alike."""
    if target.max_macs is not None:
        return target.max_macs
    standard = backbones.standard_widths(net.name, net.size, net.stem)
    return net.cost(alike(standard, cost=net.cost, fits=target.limits))[1]


def _steps(net: Backbone, wanted: Sequence[Target], batch: int) -> tuple[int, ...]:
    """Return the training multiply-accumulates of one step of a network that fills each target."""
    return tuple(BACKWARD * _most(net, target) * batch for target in wanted)


@dataclass(frozen=True, kw_only=True)
class _Course:
    """A run on its way through its targets."""

    config: GrowConfig
    run: Run
    family: Family
    budget: Budget
    targets: tuple[Target, ...]
    """Rising, a station among them."""

    def stage(self, number: int) -> None:
        """Begin the way to a target, in place of the run."""
        run, growth = self.run, self.config.growth
        if (late := run.team.told(self.budget.late(run.clock() - run.begun))) is not None:
            served = asked(self.targets[:number])
            run.end = f"{late}; {served} of {asked(self.targets)} targets are served"
            return
        whole = compute(self.config, run.net, run.batches.images)
        steps = _steps(run.net, self.targets, run.batches.batch)
        part = share(whole, run.training_macs, steps, number, growth.split)
        first = share(whole, 0, steps, 0, growth.split)
        target, step = self.targets[number], steps[number]
        held, now = int(part * growth.hold), run.training_macs
        most = max(1, held // (LEAST_STEPS * step))
        self.grow(
            Leg(
                target=number,
                rooms=rooms(run.net.cost(), target, rise=growth.rise, most=most),
                round=0,
                begun=run.step,
                steps=0,
                rate=rate(self.config.optim.learning_rate, part // step, first // steps[0]),
                held_end=now + held,
                end=now + part,
            )
        )

    def grow(self, leg: Leg) -> None:
        """Widen the network for a round and set out on it, in place of the run.

        Args:
            leg: what the round belongs to; it begins here.
        """
        run = self.run
        settle(run)
        widened = self._widen(leg.target, leg.rooms[leg.round])
        # The path counts a widening to the round before it, which the next attempt takes back.
        run.round += bool(run.step or widened)
        left_over = max(0, leg.held_end - run.training_macs)
        steps = left_over // (len(leg.rooms) - leg.round) // self._step(run.net.cost()[1])
        if self.config.optim.mu == "auto" and steps:
            mu = round_mu(self.config.optim.learning_rate, steps) / self.config.growth.settled_pull
            for group in run.optimizer.param_groups:
                group["mu"] = mu
        self._set_out(replace(leg, begun=run.step, steps=steps))
        run.enter("grow")

    def anneal(self, leg: Leg) -> None:
        """Add the network to the family as it is, and set out to anneal it, in place of the run."""
        run = self.run
        self._add_held(leg)
        left_over, macs = max(0, leg.end - run.training_macs), run.net.cost()[1]
        images = min(MEASURED, measuring(left_over, macs * run.batches.batch) // macs)
        steps = (left_over - images * macs) // self._step(macs)
        self._set_out(replace(leg, begun=run.step, steps=steps))
        run.enter("anneal")

    def serve(self, leg: Leg) -> None:
        """Add the annealed network to the family and go on to the next target, in place."""
        run = self.run
        target = self.targets[leg.target]
        origin = f"{called(self.targets, leg.target)}: {target.said()}"
        net = run.net
        images = max(0, leg.end - run.training_macs) // net.cost()[1]
        if images >= run.batches.batch:
            net = self.family.settled(run, images)
        self.family.add(run, net, "tuned" if target.asked else "grown", origin, run.validate(net))
        if leg.target + 1 == len(self.targets):
            run.end = f"targets: all {asked(self.targets)} are served"
        else:
            self.stage(leg.target + 1)

    def train(self, leg: Leg) -> None:
        """Train the next stretch of a leg, in place of the run."""
        run = self.run
        done = run.step - leg.begun
        length = min(leg.steps - done, len(run.batches) - run.begun_at)
        if run.phase == "anneal":
            fall = rates("cosine", leg.rate, epoch=0, epochs=1, steps=leg.steps)
            run.train(fall[done : done + length], run.selected)
        else:
            with at_new_rate(self.config, run):
                run.train([leg.rate] * length, run.selected)

    def _set_out(self, leg: Leg) -> None:
        self.run.notes[LEG] = asdict(leg)

    def _step(self, macs: int) -> int:
        """Return the training multiply-accumulates of one step."""
        return BACKWARD * macs * self.run.batches.batch

    def _add_held(self, leg: Leg) -> None:
        """Add the network and what its support leaves to the family, as far as it is paid for.

        Not at a station: the network there is on the way itself.
        """
        run, family = self.run, self.family
        if not self.targets[leg.target].asked:
            return
        spare = max(0, leg.end - run.training_macs) // HELD_SHARE
        images = spare // (2 * run.net.cost()[1])
        if images < run.batches.batch:
            return
        origin = f"before target {numbered(self.targets, leg.target)}"
        whole = family.settled(run, images)
        family.add(run, whole, "grown", origin, run.validate(whole))
        support = left(self.config, run)
        if not all(bool(stays.all()) for stays in support.values()):
            cut = family.cut(run, support, images)
            accuracy = run.validate(cut.net)
            family.add(run, cut.net, "pruned", f"{origin}, support", accuracy, kept=cut.kept)

    def _widen(self, number: int, room: dict[str, int]) -> bool:
        """Widen the network within a room, in place of the run; return whether anything fitted."""
        run, growth = self.run, self.config.growth
        together = teams(growth.stages, tuple(run.net.widths))
        filled = shared(fills(run.optimizer, run.net), run.net.widths, together)
        levels = thresholds(growth, run.net.widths)
        measures = run.team.leads or self.targets[number].max_latency_ms is None
        wider = run.team.told(self._plan(number, room, filled, levels) if measures else None)
        if wider is None:
            raise TypeError("a leader must tell what it has planned")
        if not wider.changes:
            return False
        told = f"toward {called(self.targets, number)}, {growth.settled_where}"

        def reason(change: Change) -> str:
            return f"{told}; fill {filled[change.group]:.2f}"

        run.recorder.growth(records(run, wider, filled, levels, reason))
        widen_run(self.config, run, wider)
        return True

    def _plan(
        self,
        number: int,
        room: dict[str, int],
        filled: Mapping[str, float],
        levels: Mapping[str, float],
    ) -> Plan:
        """Return what fills a room."""
        run, growth = self.run, self.config.growth
        net = run.net
        standard = backbones.standard_widths(net.name, net.size, net.stem)
        kept = limits(growth, net, standard, net.widths, room)
        # What is measured is measured on the way there.
        whole = limits(growth, net, standard, net.widths, self.targets[number].limits)
        aim = levelled(net.widths, standard, **whole)
        full = due(filled, DEFAULT_THRESHOLD, levels)

        def make(slow: Slow | None) -> Plan:
            within = kept | Limits(slow=slow)
            if growth.settled_where == "alike":
                return toward(net.widths, aim.widths, **within)
            first = full if growth.settled_where == "full" else most_gaining(run, full)
            return fitted(net.widths, first, **within)

        return within_latency(
            make, net, self.targets[number].max_latency_ms, Stopwatch(run.compute)
        )
