"""Ours: a trunk under SLBI whose groups are widened by what Gamma says, and variants of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from bench.family.task import Method, Outcome, Task
from bench.family.training import coupled
from bench.family.transferred import in_pairs
from bench.family.trunk import Means, Room, Trunk, Way, grown
from slbi.course.settings import LOOSE
from slbi.growth.choice import BEST, fitted, gains
from slbi.growth.rule import due, fills
from slbi.growth.widen import widen
from slbi.nets.graph.find import Found
from slbi.nets.widths import Widths
from slbi.optim.optimizer import SLBI

THRESHOLD = 0.8
"""Fill at which a group is full. Source: docs/method.md, "Growth"."""


def ours(task: Task) -> Outcome:
    """Grow as the service does by default: alike, in pairs, with twins that pull little."""
    return grown(task, OURS)


def varied(**change: Any) -> Method:  # noqa: ANN401 - any field of a way
    """Return ours with another choice in its way."""
    return lambda task: grown(task, replace(OURS, **change))


def alone(*, halts: bool = True) -> Method:
    """Return growth to one budget with all of the compute, a run for each budget.

    Args:
        halts: whether there may be a station on the way.
    """
    way = replace(OURS, halts=halts)

    def runs(task: Task) -> Outcome:
        outcome = Outcome()
        for budget in task.budgets:
            one = grown(replace(task, budgets=(budget,)), way)
            outcome.members += one.members
            outcome.runs += one.runs
        return outcome

    return runs


def level(task: Task) -> Outcome:
    """Grow with an equal share of the compute for each budget."""
    return grown(task, replace(OURS, split=(1.0,) * len(task.budgets)))


def choose_full(trunk: Trunk, room: Room) -> Widths:
    """Return wider full groups, the fullest first; where none is full, all groups."""
    filled = fills(_twins(trunk), trunk.net, found=trunk.found)
    order = sorted(filled, key=lambda group: -filled[group])
    full = [group for group in order if group in due(filled, THRESHOLD)]
    return _fitted(trunk, room, full or order)


def choose_votes(trunk: Trunk, room: Room) -> Widths:
    """Return wider groups of the three best votes."""
    standard, twins = trunk.standard, _twins(trunk)
    promised = gains(twins, trunk.net, cost=standard.cost, found=trunk.found)
    order = sorted(promised, key=lambda group: -promised[group])
    return _fitted(trunk, room, order[:BEST])


def choose_uniform(trunk: Trunk, room: Room) -> Widths:
    """Return widths as alike, relative to the standard ones, as the room allows."""
    return trunk.standard.raised(trunk.found.widths, room.target)


def at_random(trunk: Trunk, widths: Widths, means: Means) -> tuple[nn.Module, Optimizer]:
    """Widen with random filters that nothing reads yet; all state is carried."""
    return widen(trunk.net, trunk.optimizer, widths, found=trunk.found, generator=means.generator)


def by_slbi(net: nn.Module, found: Found, task: Task, coupling: float) -> Optimizer:
    """Return SLBI."""
    return coupled(net, found, task.settings, coupling=coupling)


OURS = Way(choose=choose_uniform, widen=in_pairs, drive=by_slbi, coupling=LOOSE)


def _fitted(trunk: Trunk, room: Room, first: Sequence[str]) -> Widths:
    widths = trunk.found.widths
    return fitted(widths, first, cost=trunk.standard.cost, max_macs=room.target).widths


def _twins(trunk: Trunk) -> SLBI:
    if not isinstance(trunk.optimizer, SLBI):
        raise TypeError(f"the trunk's optimizer must be SLBI, got {type(trunk.optimizer).__name__}")
    return trunk.optimizer
