"""When a group of filters is due to be widened: when its support fills it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from slbi.nets.coupling import FilterGroup
from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import known
from slbi.nets.widths import Widths


class Selects(Protocol):
    """What the rule asks of an optimizer: which weights have a twin, and what its Gamma selects."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups, each with its `structure`."""

    def support(self, parameter: Tensor, /) -> Tensor:
        """Return the support of one weight: (O,) bool for filters, its own shape for entries."""


def group_support(
    optimizer: Selects, net: nn.Module, group: str, *, found: Found | None = None
) -> Tensor:
    """Return which filters of a group any of its producers selects.

    Where the twin is elementwise, a filter is selected with the first of its entries. A weight
    without a twin, or one whose twin goes by input columns, selects no filters.

    Args:
        optimizer: drives the network.
        net: the network.
        group: its name.
        found: of `net`; None for a backbone, which knows itself.

    Returns:
        (O,) bool.

    Raises:
        KeyError: there is no such group.
        ValueError: none of its producers has a twin by filter or element.
    """
    whole = known(net, found)
    selected = _selected(optimizer, net, whole.coupling.group(group), whole.widths[group])
    if not selected:
        raise ValueError(
            f"a producer of {group!r} must have structure 'filter' or 'element', none of them has"
        )
    return torch.stack(selected).any(dim=0)  # (O,)


def supports(
    optimizer: Selects, net: nn.Module, *, found: Found | None = None
) -> dict[str, Tensor]:
    """Return `group_support` of every group that has a producer with a twin."""
    whole = known(net, found)
    chosen = (
        (group.name, _selected(optimizer, net, group, whole.widths[group.name]))
        for group in whole.coupling.groups
    )
    return {name: torch.stack(selected).any(dim=0) for name, selected in chosen if selected}


def fills(optimizer: Selects, net: nn.Module, *, found: Found | None = None) -> dict[str, float]:
    """Return the share of filters selected, 0 to 1, of every group that has a twin."""
    return {
        name: float(support.double().mean())
        for name, support in supports(optimizer, net, found=found).items()
    }


def due(
    fills: Mapping[str, float], threshold: float, thresholds: Mapping[str, float] | None = None
) -> tuple[str, ...]:
    """Return the groups whose fill has reached their threshold, in the order of `fills`.

    Args:
        fills: group -> share of filters selected.
        threshold: for all groups that have none of their own, in (0, 1].
        thresholds: group -> its own threshold, in (0, 1].

    Raises:
        ValueError: a threshold out of range, or one for a group that has no fill.
    """
    own = {} if thresholds is None else thresholds
    _check(own.values(), threshold)
    for group in own:
        if group not in fills:
            raise ValueError(
                f"a threshold must be for one of {', '.join(fills)}, got one for {group!r}"
            )
    return tuple(group for group, fill in fills.items() if fill >= own.get(group, threshold))


def shared(
    fills: Mapping[str, float], widths: Widths, together: Iterable[Sequence[str]]
) -> dict[str, float]:
    """Return the fills in which groups that grow together have one: the share of all their filters.

    Args:
        fills: group -> share of its own filters selected, 0 to 1.
        widths: filters of every group.
        together: groups that grow together; those without a fill do not count.
    """
    told = dict(fills)
    for team in together:
        members = [group for group in team if group in fills]
        selected = sum(fills[group] * widths[group] for group in members)
        for group in members:
            told[group] = selected / sum(widths[member] for member in members)
    return told


def _check(own: Iterable[float], threshold: float) -> None:
    for value in (threshold, *own):
        if not 0 < value <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {value}")


def _selected(optimizer: Selects, net: nn.Module, group: FilterGroup, width: int) -> list[Tensor]:
    """Return the (O,) support of every producer of a group that has a twin."""
    structures = {
        parameter: entry.get("structure")
        for entry in optimizer.param_groups
        for parameter in entry["params"]
    }
    selected = []
    for tie in group.made():
        weight = net.get_parameter(tie.tensor)
        match structures.get(weight):
            # The twin goes by axis 0; of a transposed convolution that is what it reads.
            case "filter" if tie.axis == 0:
                selected.append(tie.entries(optimizer.support(weight), width).any(dim=1))
            case "element":
                selected.append(tie.entries(optimizer.support(weight), width).any(dim=1))
    return selected
