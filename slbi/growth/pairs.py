"""Variance transfer: new filters come in pairs that cancel, and old ones make room for them.

Source: Yuan et al. 2023, arXiv 2306.12700: a new pair (V, V) of filters is read as (Z, -Z), so the
function stays while both learn from the first step on; all weights have the variance of a network
of the new width, for which the old ones are scaled down. Its learning rates by stage are not here.
"""

import math

import torch
from torch import Tensor, nn

from slbi.growth.seed import RandomSeed
from slbi.nets.coupling import FilterGroup, Tie
from slbi.nets.graph.find import Found
from slbi.nets.initial import draw
from slbi.nets.widths import Widths

QUIET = 0.5
"""How large new weights that read are, relative to old ones. Source: docs/decisions/0046."""


class PairedSeed:
    """New filters in equal pairs that are read with opposite signs.

    Of an odd number three are equal, and what reads them adds up to nothing. A single one is a copy
    of an old filter, with which it shares what reads that; where none can be copied, since others
    add to all filters or count them, it stays unread, as all do behind a shuffle.

    New weights that read are `size` times as large as the old ones beside them, and scales and
    variances of norms as the old ones in the mean, so that new filters feel a like gradient as old
    ones and are read as in training soon after they came. Where a norm follows a reader of several
    new filters and of no other group's, its old weights are scaled by the root of their share of
    the new fan-in, which the statistics of the norm take up: the network computes what it did but
    for the norm's epsilon.

    Args:
        size: root mean square of new weights that read, relative to that of old ones, above 0. As a
            pair learns it ceases to cancel; what is read strongly then disturbs a trained network.
    """

    def __init__(self, size: float = QUIET) -> None:
        if not size > 0:
            raise ValueError(f"size must be > 0, got {size}")
        self.size = size

    @torch.no_grad()
    def plant(
        self, net: nn.Module, found: Found, before: Widths, generator: torch.Generator
    ) -> None:
        """Set the rows of new filters and the weights that read them, in place."""
        RandomSeed().plant(net, found, before, generator)
        tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
        for group in found.coupling.groups:
            old, new = before[group.name], found.widths[group.name]
            models = _models(net, found, group, old) if new == old + 1 else []
            if models:
                which = models[int(torch.randint(len(models), (), generator=generator))]
                _split(net, group, old, which, generator=generator)
            if new < old + 2 or not _once(group):
                continue
            for tie in group.ties:
                if tie.role == "reader":
                    _read(net, tie, old, new, size=self.size, generator=generator)
                elif tie.role == "norm" and tie.fill:
                    scales = tie.entries(tensors[tie.tensor], new)
                    scales[old:] = scales[:old].mean()
        for group in found.coupling.groups:
            if _once(group):
                _equal(net, group, before[group.name], found.widths[group.name])


def _once(group: FilterGroup) -> bool:
    """Return whether a filter has one place in every tensor; behind a shuffle it has several."""
    places = [(tie.tensor, tie.axis) for tie in group.ties]
    return len(set(places)) == len(places)


def _equal(net: nn.Module, group: FilterGroup, old: int, new: int) -> None:
    """Give new filters that cancel the same rows in everything that makes them, in place."""
    for tie in group.ties:
        if tie.role == "producer":
            turned = net.get_parameter(tie.tensor).movedim(tie.axis, 0)
            for team in _teams(new - old):
                for other in team[1:]:
                    turned[_place(tie, old + other)] = turned[_place(tie, old + team[0])]


def _place(tie: Tie, filter_: int) -> slice:
    """Return the entries of a filter along the axis of a tie."""
    start = tie.offset + filter_ * tie.block
    return slice(start, start + tie.block)


def _models(net: nn.Module, found: Found, group: FilterGroup, old: int) -> list[int]:
    """Return the old filters of a group that can be copied: all that makes one is in its ties.

    Those onto which a shortcut lays a filter of another group are made of that too.
    """
    if not {tie.role for tie in group.ties} <= {"producer", "norm", "reader"} or not _once(group):
        return []
    tables = [
        net.get_buffer(route.buffer)[:old].tolist()
        for route in found.coupling.routes
        if route.target == group.name
    ]
    return [each for each in range(old) if all(table[each] < 0 for table in tables)]


def _split(
    net: nn.Module, group: FilterGroup, old: int, which: int, *, generator: torch.Generator
) -> None:
    """Make the last filter of a group a copy of an old one, and share the reading, in place."""
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    for tie in group.ties:
        turned = tensors[tie.tensor].movedim(tie.axis, 0)
        own, new = _place(tie, which), _place(tie, old)
        if tie.role != "reader":
            turned[new] = turned[own]
            continue
        kept = turned[tie.offset : tie.offset + old * tie.block]
        spread = float(kept.square().mean().sqrt())
        apart = draw(tuple(turned[own].shape), tensors[tie.tensor], generator) * spread / 2
        turned[own] /= 2
        turned[new] = turned[own] + apart
        turned[own] -= apart


def _teams(number: int) -> list[list[int]]:
    """Return which of some new filters are equal: pairs, three of an odd number, or one alone."""
    if number < 2:
        return [[index] for index in range(number)]
    half = (number - number % 2) // 2
    teams = [[index, half + index] for index in range(half)]
    if number % 2:
        teams[-1].append(number - 1)
    return teams


def _signed(number: int, drawn: Tensor) -> Tensor:
    """Return what reads some new filters, (number, ...), such that equal ones add up to nothing.

    Args:
        number: of new filters.
        drawn: (number, ...) independent values; what is returned is as large as these.
    """
    read = torch.zeros_like(drawn)
    for team in _teams(number):
        first = drawn[team[0]]
        match len(team):
            case 2:
                read[team[0]], read[team[1]] = first, -first
            case 3:
                other = math.sqrt(0.75) * drawn[team[1]]
                read[team[0]] = first
                read[team[1]], read[team[2]] = other - first / 2, -other - first / 2
            case _:
                pass  # alone: whoever read it would change the function
    return read


def _read(
    net: nn.Module, tie: Tie, old: int, new: int, *, size: float, generator: torch.Generator
) -> None:
    """Let a reader read new filters, in place, with weights of a size relative to the old ones."""
    weight = net.get_parameter(tie.tensor)
    turned = weight.movedim(tie.axis, 0)  # (I, ...)
    kept = slice(tie.offset, tie.offset + old * tie.block)
    added = slice(kept.stop, tie.offset + new * tie.block)
    whole = tie.offset == 0 and len(turned) == new * tie.block  # it reads nobody else
    if whole and tie.absorber is not None and tie.absorber.endswith("running_mean"):
        share = math.sqrt(old / new)
        turned[kept] *= share
        mean = net.get_buffer(tie.absorber)
        mean.mul_(share)
        net.get_buffer(tie.absorber.replace("running_mean", "running_var")).mul_(share**2)
    spread = size * float(turned[kept].square().mean().sqrt())
    shape = (new - old, tie.block, *turned.shape[1:])
    drawn = draw(shape, weight, generator) * spread
    turned[added] = _signed(new - old, drawn).view(turned[added].shape)
