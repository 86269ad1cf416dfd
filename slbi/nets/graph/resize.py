"""The surgery on any network: another number of filters in every tensor that shares them."""

import copy
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from slbi.nets.coupling import Attribute, Tie
from slbi.nets.graph.find import Found
from slbi.nets.transfer import Sources, carry_entries, carry_route, is_channels_last, tables
from slbi.nets.widths import Widths

NetT = TypeVar("NetT", bound=nn.Module)


@runtime_checkable
class Knowing(Protocol):
    """A network that knows its own filters, as every backbone does."""

    def found(self) -> Found:
        """Return its coupling and widths."""

    def adopt(self, found: Found) -> None:
        """Take note of the filters that surgery has left it, in place."""


def known(net: nn.Module, found: Found | None) -> Found:
    """Return what is found of a network: what is given, or what it knows itself.

    Raises:
        ValueError: neither, or what is given is not of this network as it is.
    """
    if found is None:
        if not isinstance(net, Knowing):
            raise ValueError("found must be given for a network that is no backbone, got None")
        return net.found()
    state = net.state_dict(keep_vars=True)
    for (tensor, axis), ties in found.coupling.by_axis().items():
        group, last = ties[-1]
        end = last.offset + found.widths[group] * last.block
        if tensor not in state or state[tensor].shape[axis] < end:
            length = "none" if tensor not in state else state[tensor].shape[axis]
            raise ValueError(
                f"found must be of the network as it is, whose {tensor!r} then had {end} entries "
                f"along axis {axis} or more, got {length}"
            )
    return found


@torch.no_grad()
def resized(net: NetT, found: Found, sources: Sources) -> tuple[NetT, Found]:
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
    state = [*net.parameters(), *net.buffers()]
    channels_last = any(is_channels_last(tensor) for tensor in state)
    memo: dict[int, Any] = {}
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        if name in routes:
            route = routes[name]
            renumbered = tensor.new_full((len(whole[route.target]),), -1)
            carry_route(tensor, renumbered, route, whole)
            memo[id(tensor)] = renumbered
        else:
            made = _resized_tensor(tensor, ties.get(name, []), found.widths, whole)
            if channels_last and made.ndim == 4:
                # Of one channel the layout of a tensor does not show; it must when there are more.
                made = made.contiguous(memory_format=torch.channels_last)
            memo[id(tensor)] = _like(tensor, made)
    new = copy.deepcopy(net, memo)
    widths = Widths({group: len(source) for group, source in whole.items()})
    for attribute in found.coupling.attributes:
        _set(new.get_submodule(attribute.module), attribute, attribute.value(widths))
    left = found.resized(widths)
    _tell(new, left)
    return new, left


def rebuilt(net: NetT, found: Found, widths: Widths) -> tuple[NetT, Found]:
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


def _tell(net: object, found: Found) -> None:
    """Let a network that knows its filters know these, in place."""
    if isinstance(net, Knowing):
        net.adopt(found)


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
    carry_entries(old.detach(), new, along)
    return new


def _like(old: Tensor, new: Tensor) -> Tensor:
    """Return a parameter where the old tensor is one."""
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
