"""The surgery on any network: another number of filters in every tensor that shares them."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from slbi.nets.coupling import Attribute, Tie
from slbi.nets.graph.find import Found
from slbi.nets.transfer import Sources, carry_entries, carry_route, is_channels_last, tables
from slbi.nets.widths import Widths


@torch.no_grad()
def resized(net: nn.Module, found: Found, sources: Sources) -> tuple[nn.Module, Found]:
    """Return the network with other filters, and what was found of it at its new widths.

    It is a copy of the same class: code, hooks, training flags, `requires_grad`, dtype, device and
    memory layout stay. Entries of new filters are zero, those of a norm neutral.

    Args:
        net: the network; left as it is.
        found: of `net`.
        sources: group -> (O,) int64, the old filter that each new one is, or -1 for none. A group
            that is not named keeps its filters.

    Raises:
        ValueError: an unknown group, no filter at all, or a source that does not exist.
    """
    whole = whole_sources(found.widths, sources)
    ties = found.coupling.by_tensor()
    routes = {route.buffer: route for route in found.coupling.routes}
    memo: dict[int, Any] = {}
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        if name in routes:
            route = routes[name]
            renumbered = tensor.new_full((len(whole[route.target]),), -1)
            carry_route(tensor, renumbered, route, whole)
            memo[id(tensor)] = renumbered
        else:
            memo[id(tensor)] = _resized_tensor(tensor, ties.get(name, []), found.widths, whole)
    new = copy.deepcopy(net, memo)
    widths = Widths({group: len(source) for group, source in whole.items()})
    for attribute in found.coupling.attributes:
        _set(new.get_submodule(attribute.module), attribute, attribute.value(widths))
    return new, found.resized(widths)


def rebuilt(net: nn.Module, found: Found, widths: Widths) -> tuple[nn.Module, Found]:
    """Return the network at any widths, to be loaded with the state of one that has them.

    Args:
        net: a network of the same class and other widths, with or without data; left as it is.
        found: of `net`.
        widths: of the network returned.

    Raises:
        ValueError: other groups.
    """
    found.resized(widths)
    sources = {}
    for group, width in widths.items():
        positions = torch.arange(width)
        sources[group] = torch.where(positions < found.widths[group], positions, -1)
    return resized(net, found, sources)


def whole_sources(before: Widths, sources: Sources) -> dict[str, Tensor]:
    """Return sources for every group; one that is not named keeps its filters.

    Raises:
        ValueError: an unknown group, no filter at all, or a source that does not exist.
    """
    for group, source in sources.items():
        if group not in before:
            raise ValueError(
                f"groups of filters must be among {', '.join(before) or 'none'}, got {group!r}"
            )
        if not len(source):
            raise ValueError(f"group {group!r} must keep at least one filter, got none")
        if int(source.min()) < -1 or int(source.max()) >= before[group]:
            raise ValueError(
                f"sources of {group!r} must be -1 or a filter below {before[group]}, "
                f"got {source.tolist()}"
            )
    return {
        group: sources[group].cpu() if group in sources else torch.arange(width)
        for group, width in before.items()
    }


def _resized_tensor(
    old: Tensor, ties: list[tuple[str, Tie]], before: Widths, sources: Mapping[str, Tensor]
) -> Tensor:
    along = tables(old.shape, ties, before, sources)
    shape = [len(along[axis]) if axis in along else length for axis, length in enumerate(old.shape)]
    new = torch.full(shape, ties[0][1].fill if ties else 0, dtype=old.dtype, device=old.device)
    if is_channels_last(old):
        new = new.contiguous(memory_format=torch.channels_last)
    carry_entries(old.detach(), new, along)
    if isinstance(old, nn.Parameter):
        return nn.Parameter(new, requires_grad=old.requires_grad)
    return new


def _set(module: nn.Module, attribute: Attribute, number: int) -> None:
    """Set a number that a module keeps, in place."""
    if attribute.index is None:
        setattr(module, attribute.name, number)
        return
    kept = list(getattr(module, attribute.name))
    kept[attribute.index] = number
    setattr(module, attribute.name, tuple(kept))
