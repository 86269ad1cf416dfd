"""Where a network is widened, when several groups could be: by what one more filter promises."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypedDict, Unpack

import torch
from torch import Tensor, nn

from slbi.growth.plan import Change, Cost, Plan, Slow, plan
from slbi.growth.rule import Selects, fills
from slbi.growth.stages import FIRST_SHARE, Target
from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import known
from slbi.nets.widths import Widths

BEST = 3
"""Groups that take first when they are chosen by gain. Source: docs/decisions/0045."""

DOUBLED = 2.0
"""Factor by which a group is widened at most before others have their turn."""

FITS = ("max_params", "max_macs")
"""Caps on what a network costs."""


class Moves(Selects, Protocol):
    """What gains ask of an optimizer: its support, and the velocity of every weight."""

    @property
    def state(self) -> Mapping[Tensor, Mapping[str, Any]]:
        """Return the state of every parameter; a velocity is its `momentum_buffer`."""


class Limits(TypedDict, total=False):
    """What `plan` keeps to, see there."""

    multiple: int
    max_width: int | Mapping[str, int] | None
    closed: Mapping[str, str] | None
    together: Sequence[Sequence[str]]
    cost: Cost | None
    max_params: int | None
    max_macs: int | None
    slow: Slow | None


def gains(
    optimizer: Moves, net: nn.Module, *, cost: Cost, found: Found | None = None
) -> dict[str, float]:
    """Return what one more filter of each group that has a twin promises, for what it costs.

    It is fill x norm of the velocities of what makes the group, per sqrt(filters), over sqrt(the
    multiply-accumulates of one more filter): a group promises much that selects what it has, whose
    weights are still drawn somewhere, and where a filter is cheap.

    Args:
        optimizer: drives the network.
        net: the network.
        cost: parameters and multiply-accumulates at some widths.
        found: of `net`; None for a backbone, which knows itself.

    Source: docs/method.md, "Growth toward targets".
    """
    whole = known(net, found)
    widths = whole.widths
    macs = cost(widths)[1]
    promised = {}
    for group, fill in fills(optimizer, net, found=found).items():
        more = cost(widths.replaced({group: widths[group] + 1}))[1] - macs
        pull = _velocity(optimizer, net, whole, group) / math.sqrt(widths[group])
        promised[group] = fill * pull / math.sqrt(max(1, more))
    return promised


def fitted(widths: Widths, first: Sequence[str], **limits: Unpack[Limits]) -> Plan:
    """Return a plan that fills a room: some groups take first, all share what they leave.

    Those that take first at most double before the others have their turn.

    Args:
        widths: of the network as it is.
        first: groups that take first.
        limits: of `plan`.

    Raises:
        ValueError: as `plan`.
    """
    begun = plan(widths, first, ratio=DOUBLED, minimum=1, **limits)
    return _joined(widths, [begun, *_filled(begun.widths, tuple(widths), limits)])


def levelled(widths: Widths, standard: Widths, **limits: Unpack[Limits]) -> Plan:
    """Return a plan that fills a room with groups that all have one share of a standard.

    What the share leaves over goes to the groups of the smallest shares. A group that has more than
    its share keeps it, one whose greatest width is below it has that. So widths depend on what they
    were before as little as can be, beyond the standard ones too.

    Args:
        widths: of the network as it is.
        standard: widths that the shares are of.
        limits: of `plan`; with `cost`, and one cap on it or both.

    Raises:
        ValueError: as `plan`, or the network as it is is beyond a cap.
    """
    closed, cost = limits.get("closed") or {}, limits.get("cost")
    if cost is None:
        raise ValueError("cost must be given, got None")
    caps = {"max_params": limits.get("max_params"), "max_macs": limits.get("max_macs")}
    fits = {name: cap for name, cap in caps.items() if cap is not None}
    most = _most(widths, limits.get("max_width"), closed)
    level = raised(widths, standard, cost=cost, fits=fits, most=most)
    multiple = limits.get("multiple", 1)
    order = sorted(widths, key=lambda group: widths[group] / standard[group])
    within = limits | Limits(
        max_width={g: min(most[g], max(widths[g], level[g] // multiple * multiple)) for g in widths}
    )
    furthest = max(1, *(level[group] - widths[group] for group in widths))
    begun = plan(widths, order, ratio=1.0, minimum=furthest, **within)
    order = sorted(widths, key=lambda group: begun.widths[group] / standard[group])
    return _joined(widths, [begun, *_filled(begun.widths, order, limits)])


def toward(widths: Widths, aim: Widths, **limits: Unpack[Limits]) -> Plan:
    """Return `levelled` on the way to some widths, which no group passes.

    If each round levelled its own room, where no filter of a costly group fits, cheap groups would
    take what is left of one small room after the other.
    """
    return levelled(widths, aim, **(limits | Limits(max_width=aim)))


def first(
    standard: Widths,
    target: Target,
    *,
    cost: Cost,
    least: Mapping[str, int] | None = None,
    closed: Collection[str] = (),
) -> Widths:
    """Return the widths that growth to targets starts from, all groups alike.

    It is the widest network within the first target and within `FIRST_SHARE` of the standard one,
    never below the least widths. A group that is never widened has its share of the target.

    Args:
        standard: widths, all of which are kept at most.
        target: the first one.
        cost: parameters and multiply-accumulates at some widths.
        least: fewest filters of each group; None is 1 of each.
        closed: groups that are never widened.

    Raises:
        ValueError: the least widths are beyond the target.
    """
    narrowest = Widths({group: 1 if least is None else least[group] for group in standard})
    served = raised(narrowest, standard, cost=cost, fits=target.limits)
    held = {group: served[group] for group in closed}
    narrowest, most = narrowest.replaced(held), standard.replaced(held)
    small = dict(zip(FITS, (int(FIRST_SHARE * whole) for whole in cost(standard)), strict=True))
    fits = {name: min(limit, small[name]) for name, limit in target.limits.items()}
    try:
        return raised(narrowest, most, cost=cost, fits=fits)
    except ValueError:
        return narrowest


def alike(
    standard: Widths, *, cost: Cost, fits: Mapping[str, int], least: Mapping[str, int] | None = None
) -> Widths:
    """Return the widest network within some limits whose groups keep one share of a standard.

    What the share leaves over is given out filter by filter, to the group that has the smallest
    share first, so that no group could take one more.

    Args:
        standard: widths, all of which are kept at most.
        cost: parameters and multiply-accumulates at some widths.
        fits: "max_params", "max_macs" or both.
        least: fewest filters of each group; None is 1 of each.

    Raises:
        ValueError: the least widths are beyond a limit.
    """
    return raised(
        Widths({group: 1 if least is None else least[group] for group in standard}),
        standard,
        cost=cost,
        fits=fits,
    )


def raised(
    before: Widths,
    standard: Widths,
    *,
    cost: Cost,
    fits: Mapping[str, int],
    most: Mapping[str, int] | None = None,
) -> Widths:
    """Return `alike` of widths that are none smaller than before.

    Args:
        before: widths.
        standard: widths that the share is of.
        cost: parameters and multiply-accumulates at some widths.
        fits: "max_params", "max_macs" or both.
        most: filters of each group at most, whatever its share; None is the standard ones.

    Raises:
        ValueError: the widths before are beyond a limit.
    """

    def within(widths: Widths) -> bool:
        params, macs = cost(widths)
        told = dict(zip(FITS, (params, macs), strict=True))
        return all(told[name] <= limit for name, limit in fits.items())

    if not within(before):
        limits = ", ".join(f"{name} {limit}" for name, limit in fits.items())
        params, macs = cost(before)
        raise ValueError(
            f"{limits} must allow the narrowest network, of {params} parameters and {macs} "
            "multiply-accumulates"
        )
    most = standard if most is None else most
    after = _shared(before, standard, most, within)
    while True:
        behind = [group for group in after if after[group] < most[group]]
        taker = min(behind, key=lambda group: after[group] / standard[group], default=None)
        if taker is None:
            return after
        more = after.replaced({taker: after[taker] + 1})
        if not within(more):
            break
        after = more
    for group in sorted(behind, key=lambda group: after[group] / standard[group]):
        more = after.replaced({group: after[group] + 1})
        if within(more):
            after = more
    return after


def _filled(widths: Widths, order: Sequence[str], limits: Limits) -> list[Plan]:
    """Return plans, one behind the other, that give all groups what fits till nothing does.

    Args:
        widths: before them.
        order: who takes first where it is short.
        limits: of `plan`.
    """
    plans = [plan(widths, order, ratio=DOUBLED, minimum=1, **limits)]
    while plans[-1].changes:
        plans.append(plan(plans[-1].widths, order, ratio=DOUBLED, minimum=1, **limits))
    return plans


def _joined(widths: Widths, plans: Sequence[Plan]) -> Plan:
    """Return plans, one behind the other, as one."""
    wanted = {change.group: change.wanted for each in plans for change in each.changes}
    last = plans[-1]
    changes = tuple(
        Change(group=group, before=widths[group], after=after, wanted=max(wanted[group], after))
        for group, after in last.widths.items()
        if after > widths[group]
    )
    grown = {change.group for change in changes}
    refused = tuple(each for each in last.refused if each.group not in grown)
    return Plan(widths=last.widths, changes=changes, refused=refused)


def _most(
    widths: Widths, cap: int | Mapping[str, int] | None, closed: Collection[str]
) -> dict[str, int]:
    """Return how many filters each group may have whatever the network costs; those it has stay."""
    caps = cap if isinstance(cap, Mapping) else {} if cap is None else dict.fromkeys(widths, cap)
    return {
        group: width if group in closed else max(width, caps.get(group, _ANY))
        for group, width in widths.items()
    }


_ANY = 2**20
"""Filters of a group that has no greatest width; what the network may cost stops it before."""

_STEPS = 4096
"""Shares of the standard widths that are tried at once, before filters are given out singly."""


def _shared(
    before: Widths, standard: Widths, most: Mapping[str, int], within: Callable[[Widths], bool]
) -> Widths:
    """Return the largest common share of the standard widths within a limit.

    No group is below what it was before, or above the most it may have. The share may pass 1.
    """

    def at(step: int) -> Widths:
        return Widths(
            {g: max(before[g], min(most[g], standard[g] * step // _STEPS)) for g in standard}
        )

    low, high = 0, _STEPS
    while within(at(high)) and any(standard[g] * high // _STEPS < most[g] for g in standard):
        low, high = high, 2 * high
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if within(at(middle)) else (low, middle - 1)
    return at(low)


def _velocity(optimizer: Moves, net: nn.Module, found: Found, group: str) -> float:
    """Return the norm of the velocities of everything that makes a group's filters."""
    norms = [torch.zeros(1)]
    for tie in found.coupling.group(group).made():
        state = optimizer.state.get(net.get_parameter(tie.tensor), {})
        if "momentum_buffer" in state:
            norms.append(state["momentum_buffer"].norm().view(1).cpu())
    return float(torch.cat(norms).norm())
