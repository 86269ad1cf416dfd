"""A network that grows from budget to budget, and at each of them is annealed.

Each budget has a stage with a part of the compute. In a stage the network is widened round by
round, at a constant learning rate, until it has the budget's multiply-accumulates; with the rest of
the stage it is annealed to zero and is the member, from which growth goes on. What is widened, how,
and what drives it, are a `Way`; in one of them a copy is annealed and growth goes on without it.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer

from bench.family.ledger import learned, steps
from bench.family.networks import Standard
from bench.family.task import Outcome, Run, Task
from bench.family.training import Stream, constant, cosine, finish, plain, train
from slbi.growth.stages import FIRST_SHARE, LEAST_STEPS, Target, rate, rooms, share
from slbi.growth.stations import least_station, station
from slbi.growth.twins import round_mu
from slbi.nets.graph.find import Found
from slbi.nets.widths import Widths
from slbi.optim.optimizer import SLBI


@dataclass(kw_only=True)
class Trunk:
    """A trunk on its way."""

    standard: Standard
    net: nn.Module
    found: Found
    optimizer: Optimizer

    @property
    def macs(self) -> int:
        """Return its multiply-accumulates of one image."""
        return self.standard.cost(self.found.widths)[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """How far a round may go."""

    target: int
    """Most multiply-accumulates after this round."""
    limit: int
    """Those of the budget, which the last round of a stage may reach."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What a widening may use."""

    task: Task
    stream: Stream
    run: Run
    generator: torch.Generator


Choose = Callable[[Trunk, Room], Widths]
"""Returns the widths after a round, none smaller than before, within the room."""

Widen = Callable[[Trunk, Widths, Means], tuple[nn.Module, Optimizer]]
"""Returns the wider network and its optimizer; the trunk is left as it is."""

Drive = Callable[[nn.Module, Found, Task, float], Optimizer]
"""Returns what drives a new trunk; the last argument is the way's coupling."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How a trunk is grown."""

    choose: Choose
    widen: Widen
    drive: Drive
    start: float = FIRST_SHARE
    """Share of the standard network's multiply-accumulates to start with, all groups alike."""
    rise: float = 1.25
    """Factor by which a round raises the multiply-accumulates at most, above 1."""
    hold: float = 0.5
    """Part of a stage's compute before the rate falls, in (0, 1)."""
    forks: bool = False
    """Whether a copy is annealed, at the full rate, and growth goes on from where it was."""
    calms: bool = True
    """Whether a short stage has a lower rate, see `rate`."""
    eases: bool = True
    """Whether twins pull less where the rate is low, see `round_mu`."""
    split: tuple[float, ...] | None = None
    """How the compute is shared out between the budgets, see `share`."""
    halts: bool = True
    """Whether growth halts where compute is worth most, see `slbi.growth.stations`."""
    coupling: float = 1.0
    """How strongly twins pull on a trunk under SLBI, relative to `round_mu`, above 0; when filters
    enter the support does not depend on it."""

    def __post_init__(self) -> None:
        if not (0 < self.start <= 1 and self.rise > 1 and 0 < self.hold < 1):
            raise ValueError(
                "start must be in (0, 1], rise above 1 and hold in (0, 1), "
                f"got {self.start}, {self.rise} and {self.hold}"
            )
        if not self.coupling > 0:
            raise ValueError(f"coupling must be > 0, got {self.coupling}")


def grown(task: Task, way: Way) -> Outcome:
    """Grow a network through all budgets; as it is annealed at each, it is a member."""
    run, stream = Run(task), task.stream()
    source = task.weights()
    trunk = _started(task, way, source)
    means = Means(task=task, stream=stream, run=run, generator=source)
    outcome = Outcome()
    halts = _halts(task, way, trunk.macs)
    each = [learned(limit, task.batch) for _, limit in halts]
    first = 0
    for index, (budget, limit) in enumerate(halts):
        stage = share(task.compute, run.ledger.spent, each, index, way.split)
        end = run.ledger.spent + stage
        number = steps(stage, limit, task.batch)
        first = number if index == 0 else first
        lr = task.settings.lr
        if way.calms and not way.forks:
            lr = rate(lr, number, first)
        _stage(trunk, way, means, limit=limit, compute=int(stage * way.hold), lr=lr)
        net, optimizer = _forked(trunk, task) if way.forks else (trunk.net, trunk.optimizer)
        number = steps(end - run.ledger.spent, trunk.macs, task.batch)
        schedule = cosine(lr)
        finish(
            net, optimizer, stream, number, macs=trunk.macs, ledger=run.ledger, schedule=schedule
        )
        if budget is not None:
            member = copy.deepcopy(net)
            outcome.members.append(run.made(budget, limit, member, task.standard.shape))
    outcome.runs.append(run.ledger.spent)
    return outcome


def _halts(task: Task, way: Way, first: int) -> list[tuple[float | None, int]]:
    """Return each budget with its limit, and a station without a budget."""
    told: list[tuple[float | None, int]] = list(zip(task.budgets, task.limits, strict=True))
    if way.halts and way.split is None and not way.forks:
        passes = learned(1, task.batch)
        (whole,) = task.standard.limits((1.0,))
        least = least_station(first, whole)
        found = station(task.compute, task.limits, least, passes=passes, hold=way.hold)
        if found is not None:
            told.insert(found.before, (None, found.macs))
    return told


def _forked(trunk: Trunk, task: Task) -> tuple[nn.Module, Optimizer]:
    """Return a copy of a trunk and what drives it: no twin, the velocities as they are."""
    net = copy.deepcopy(trunk.net)
    net.zero_grad()
    optimizer = plain(net, task.settings)
    for before, after in zip(trunk.net.parameters(), net.parameters(), strict=True):
        velocity = trunk.optimizer.state.get(before, {}).get("momentum_buffer")
        if velocity is not None:
            optimizer.state[after]["momentum_buffer"] = velocity.clone()
    return net, optimizer


def _started(task: Task, way: Way, source: torch.Generator) -> Trunk:
    standard = task.standard
    (least,) = standard.limits((min(way.start, task.budgets[0]),))
    widths = standard.uniform(least)
    net = standard.fresh(widths, source)
    found = standard.found().resized(widths)
    return Trunk(
        standard=standard, net=net, found=found, optimizer=way.drive(net, found, task, way.coupling)
    )


def _stage(trunk: Trunk, way: Way, means: Means, *, limit: int, compute: int, lr: float) -> None:
    """Grow a trunk to a limit and train it with some compute, round by round, in place."""
    task, ledger = means.task, means.run.ledger
    end = ledger.spent + compute
    macs = trunk.macs
    most = max(1, compute // (learned(limit, task.batch) * LEAST_STEPS))
    each = [
        Room(target=room["max_macs"], limit=limit)
        for room in rooms((0, macs), Target(max_macs=limit), rise=way.rise, most=most)
    ]
    for number, room in enumerate(each):
        widths = way.choose(trunk, room)
        if widths != trunk.found.widths:
            trunk.net, trunk.optimizer = way.widen(trunk, widths, means)
            trunk.found = trunk.found.resized(widths)
        part = max(0, end - ledger.spent) // (len(each) - number)
        number_of_steps = steps(part, trunk.macs, task.batch)
        if isinstance(trunk.optimizer, SLBI) and number_of_steps:
            full = task.settings.lr if way.eases else lr
            mu = round_mu(full, number_of_steps) / way.coupling
            for group in trunk.optimizer.param_groups:
                group["mu"] = mu
        train(
            trunk.net,
            trunk.optimizer,
            means.stream,
            number_of_steps,
            macs=trunk.macs,
            ledger=ledger,
            schedule=constant(lr),
        )
