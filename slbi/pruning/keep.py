"""Which filters stay when some are asked to go."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.nets.coupling import Coupling, FilterGroup


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


def settled(net: Backbone, keep: Mapping[str, Tensor]) -> Kept:
    """Return what stays of a network.

    Args:
        net: the network.
        keep: group -> (O,) bool, filters to keep; a group that is not named is kept whole.

    Raises:
        ValueError: an unknown group, or a mask that is not (O,) bool.
    """
    _check(net, keep)
    coupling = net.coupling()
    selected: dict[str, Tensor] = {}
    positions: dict[str, Tensor] = {}
    rescued = []
    for group in coupling.groups:
        name = group.name
        asked = keep.get(name)
        chosen = torch.ones(net.widths[name], dtype=torch.bool) if asked is None else asked.cpu()
        stays = chosen | fed(net, coupling, name, positions)
        if not stays.any():
            rescued.append(name)
            stays = chosen = torch.arange(len(chosen)) == _largest(net, group)
        selected[name], positions[name] = chosen, stays
    return Kept(selected=selected, positions=positions, rescued=tuple(rescued))


def fed(net: Backbone, coupling: Coupling, group: str, positions: Mapping[str, Tensor]) -> Tensor:
    """Return to which filters of a group a route adds one that stays.

    Args:
        net: the network.
        coupling: its coupling.
        group: of which filters.
        positions: group -> (O,) bool, what stays of every group before this one.

    Returns:
        (O,) bool.
    """
    reached = torch.zeros(net.widths[group], dtype=torch.bool)
    for route in coupling.routes:
        if route.target == group:
            source = net.get_buffer(route.buffer).cpu()
            reached |= (source >= 0) & positions[route.source][source.clamp(min=0)]
    return reached


def _largest(net: Backbone, group: FilterGroup) -> int:
    """Return the filter of the largest norm over all its producers' weights."""
    weights = [net.get_parameter(name).detach() for name in group.tensors("producer")]
    squares = [weight.double().flatten(1).square().sum(1) for weight in weights if weight.ndim > 1]
    return int(torch.stack(squares).sum(0).argmax())


def _check(net: Backbone, keep: Mapping[str, Tensor]) -> None:
    for name, kept in keep.items():
        if name not in net.widths:
            raise ValueError(f"groups to keep must be among {', '.join(net.widths)}, got {name!r}")
        if kept.dtype != torch.bool or tuple(kept.shape) != (net.widths[name],):
            raise ValueError(
                f"mask of {name!r} must be bool of shape ({net.widths[name]},), "
                f"got {kept.dtype} of shape {tuple(kept.shape)}"
            )
