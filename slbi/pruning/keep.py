"""Which filters stay when some are asked to go."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slbi.nets.coupling import FilterGroup
from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import known


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What stays of every group of a network."""

    selected: Mapping[str, Tensor]
    """Group -> (O,) bool: filters whose rows stay as they are; the others' are zero."""
    positions: Mapping[str, Tensor]
    """Group -> (O,) bool: filters that cannot be removed: the selected ones, and in a stream those
    to which a route adds a position that stays."""
    rescued: tuple[str, ...]
    """Groups of which nothing would be left; their filter of the largest norm is selected."""


def settled(net: nn.Module, keep: Mapping[str, Tensor], *, found: Found | None = None) -> Kept:
    """Return what stays of a network.

    Args:
        net: the network.
        keep: group -> (O,) bool, filters to keep; a group that is not named is kept whole.
        found: of `net`; None for a backbone, which knows itself.

    Raises:
        ValueError: an unknown group, a mask that is not (O,) bool, or a group that loses filters
            over which a norm takes a statistic.
    """
    whole = known(net, found)
    _check(whole, keep)
    coupling = whole.coupling
    selected: dict[str, Tensor] = {}
    positions: dict[str, Tensor] = {}
    rescued = []
    for group in coupling.groups:
        name = group.name
        asked = keep.get(name)
        chosen = torch.ones(whole.widths[name], dtype=torch.bool) if asked is None else asked.cpu()
        stays = chosen | fed(net, whole, name, positions)
        if not stays.any():
            rescued.append(name)
            stays = chosen = torch.arange(len(chosen)) == _largest(net, group, len(chosen))
        selected[name], positions[name] = chosen, stays
    return Kept(selected=selected, positions=positions, rescued=tuple(rescued))


def fed(net: nn.Module, found: Found, group: str, positions: Mapping[str, Tensor]) -> Tensor:
    """Return to which filters of a group a route adds one that stays.

    Args:
        net: the network.
        found: of `net`.
        group: of which filters.
        positions: group -> (O,) bool, what stays of every group before this one.

    Returns:
        (O,) bool.
    """
    reached = torch.zeros(found.widths[group], dtype=torch.bool)
    for route in found.coupling.routes:
        if route.target == group:
            source = net.get_buffer(route.buffer).cpu()
            reached |= (source >= 0) & positions[route.source][source.clamp(min=0)]
    return reached


def norms_of(net: nn.Module, group: FilterGroup, width: int) -> Tensor:
    """Return the norm of every filter of a group over all weights that make it, (O,).

    Source: docs/method.md, "Prune".
    """
    squares = []
    for tie in group.made():
        weight = net.get_parameter(tie.tensor).detach()
        if weight.ndim > 1:
            squares.append(tie.entries(weight, width).square().sum(1))
    return torch.stack(squares).sum(0).sqrt()


def _largest(net: nn.Module, group: FilterGroup, width: int) -> int:
    return int(norms_of(net, group, width).argmax())


def _check(found: Found, keep: Mapping[str, Tensor]) -> None:
    for name, kept in keep.items():
        if name not in found.widths:
            known = ", ".join(found.widths)
            raise ValueError(f"groups to keep must be among {known}, got {name!r}")
        if kept.dtype != torch.bool or tuple(kept.shape) != (found.widths[name],):
            raise ValueError(
                f"mask of {name!r} must be bool of shape ({found.widths[name]},), "
                f"got {kept.dtype} of shape {tuple(kept.shape)}"
            )
        blended = found.coupling.group(name).blended
        if blended is not None and not kept.all():
            raise ValueError(f"group {name!r} must keep its width: {blended}")
