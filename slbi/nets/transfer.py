"""Carry weights, statistics and optimizer state from one network to another of other widths.

Widening, slicing and restarting are all this: for every group a table says which old filter each
new filter is, and every tensor travels along the axes that the group ties.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from slbi.nets.coupling import Route, Tie
from slbi.nets.graph.find import Found
from slbi.nets.widths import Widths

Sources = Mapping[str, Tensor]
"""Group -> (O,) int64: for every filter of the new network the old filter it is, or -1 for none."""

OptimizerT = TypeVar("OptimizerT", bound=Optimizer)


def appended(before: Widths, after: Widths) -> dict[str, Tensor]:
    """Return the sources when new filters are appended behind the old ones.

    Raises:
        ValueError: other groups, or fewer filters in one of them.
    """
    if set(before) != set(after):
        raise ValueError(
            f"widths must name the groups {', '.join(before)}, got {', '.join(after) or 'none'}"
        )
    sources = {}
    for group, width in before.items():
        if after[group] < width:
            raise ValueError(f"width of {group!r} must be >= {width}, got {after[group]}")
        positions = torch.arange(after[group])
        sources[group] = torch.where(positions < width, positions, -1)
    return sources


def tables(
    shape: Sequence[int], ties: Iterable[tuple[str, Tie]], before: Widths, sources: Sources
) -> dict[int, Tensor]:
    """Return what becomes of the entries of a tensor along every tied axis.

    Args:
        shape: of the old tensor.
        ties: all its ties, each with the name of its group.
        before: widths of the old network.
        sources: of the new one.

    Returns:
        Axis -> int64, one for every entry of the new tensor: the old entry that it is, or -1.
        Entries that belong to no group stay where they are between the others.
    """
    found = {}
    ordered = sorted(ties, key=lambda named: named[1].offset)
    for axis in sorted({tie.axis for _, tie in ordered}):
        pieces, at = [], 0
        for group, tie in ordered:
            if tie.axis == axis:
                pieces.append(torch.arange(at, tie.offset))
                pieces.append(_entries(sources[group].cpu(), tie))
                at = tie.offset + before[group] * tie.block
        pieces.append(torch.arange(at, shape[axis]))
        found[axis] = torch.cat(pieces)
    return found


@torch.no_grad()
def carry_entries(old: Tensor, new: Tensor, along: Mapping[int, Tensor]) -> None:
    """Copy every entry that has a source along all axes, in place in `new`.

    Args:
        old: the tensor before.
        new: the tensor after, of its final shape; without data there is nothing to copy.
        along: as `tables` gives it; axes that it does not name travel whole.
    """
    if new.is_meta:
        return
    if not along:
        new.copy_(old)
        return
    taken = old
    places = [torch.arange(length, device=new.device) for length in new.shape]
    for axis, table in along.items():
        kept = (table >= 0).nonzero().flatten()
        places[axis] = kept.to(new.device)
        taken = taken.index_select(axis, table[kept].to(old.device))
    index = tuple(
        place.view([-1 if axis == other else 1 for other in range(new.ndim)])
        for axis, place in enumerate(places)
    )
    new[index] = taken


@torch.no_grad()
def carry_net(old: nn.Module, new: nn.Module, found: Found, sources: Sources) -> None:
    """Copy every entry that has a source from `old` to `new`, in place in `new`.

    Entries without a source keep the value that `new` holds. Training flags, `requires_grad` and
    the channels-last layout are carried too.

    Args:
        old: the network to copy from.
        new: one of the same layers, whose filters are those of `sources`.
        found: of `old`.
        sources: group -> the old filter that every new one is, -1 for none; all groups.
    """
    ties = found.coupling.by_tensor()
    state = old.state_dict()
    if any(is_channels_last(tensor) for tensor in state.values()):
        new.to(memory_format=torch.channels_last)
    routes = {route.buffer: route for route in found.coupling.routes}
    for name, tensor in new.state_dict().items():
        if name in routes:
            carry_route(state[name], tensor, routes[name], sources)
        else:
            before = state[name]
            along = tables(before.shape, ties.get(name, []), found.widths, sources)
            carry_entries(before, tensor, along)
    for name, module in new.named_modules():
        module.training = old.get_submodule(name).training
    for name, parameter in new.named_parameters():
        parameter.requires_grad_(old.get_parameter(name).requires_grad)


@torch.no_grad()
def carried_optimizer(
    optimizer: OptimizerT,
    old: nn.Module,
    new: nn.Module,
    found: Found,
    sources: Sources,
    *,
    keep_state: bool = True,
) -> OptimizerT:
    """Return an optimizer of the same kind and groups that drives `new` as `optimizer` drove `old`.

    State shaped like its parameter travels with the filters and is zero for new ones; scalars, such
    as a count of steps, are kept.

    Args:
        optimizer: any torch optimizer that takes its defaults by name; left as it is.
        old: the network it drives.
        new: the network to drive.
        found: of `old`.
        sources: group -> the old filter that every new one is, -1 for none; all groups.
        keep_state: False starts with an empty state.

    Raises:
        ValueError: a parameter that `old` does not have, or state of another shape.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in old.named_parameters()}
    for index, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            if parameter not in names:
                raise ValueError(
                    f"every parameter of the optimizer must belong to the network, got one of "
                    f"shape {tuple(parameter.shape)} in group {index} that does not"
                )
    groups = [_carried_group(group, names, new) for group in optimizer.param_groups]
    accepted = inspect.signature(type(optimizer)).parameters
    defaults = {key: value for key, value in optimizer.defaults.items() if key in accepted}
    carried = type(optimizer)(groups, **defaults)
    if keep_state:
        ties = found.coupling.by_tensor()
        for parameter, state in optimizer.state.items():
            name = names[parameter]
            twin = new.get_parameter(name)
            along = tables(parameter.shape, ties.get(name, []), found.widths, sources)
            carried.state[twin] = {
                key: _carried_state(value, parameter, twin, along, f"state {key!r} of {name!r}")
                for key, value in state.items()
            }
    return carried


def _carried_group(
    group: Mapping[str, Any], names: Mapping[Tensor, str], new: nn.Module
) -> dict[str, Any]:
    """Return a parameter group with the same hyper-parameters for the parameters of `new`."""
    carried = {
        key: value.clone() if isinstance(value, Tensor) else value
        for key, value in group.items()
        if key not in {"params", "param_names"}
    }
    parameters = [new.get_parameter(names[parameter]) for parameter in group["params"]]
    # torch wants names and parameters in pairs, or no names at all.
    if "param_names" in group:
        carried["params"] = list(zip(group["param_names"], parameters, strict=True))
    else:
        carried["params"] = parameters
    return carried


def _carried_state(
    value: object, old: Tensor, new: Tensor, along: Mapping[int, Tensor], label: str
) -> object:
    if not isinstance(value, Tensor):
        return value
    if value.ndim == 0:
        return value.clone()
    if value.shape != old.shape:
        raise ValueError(
            f"{label} must be a scalar or of the parameter's shape {tuple(old.shape)}, "
            f"got {tuple(value.shape)}"
        )
    carried = torch.zeros_like(new, dtype=value.dtype, requires_grad=False)
    carry_entries(value, carried, along)
    return carried


def carry_route(old: Tensor, new: Tensor, route: Route, sources: Sources) -> None:
    """Rewrite the table of a route, in place in `new`, in the new numbers of both its groups."""
    source = sources[route.source].to(new.device)
    target = sources[route.target].to(new.device)
    kept = (source >= 0).nonzero().flatten()
    width = int(torch.cat([old, source]).max()) + 1
    # One entry more, at the end, answers the index -1: nothing is carried, and -1 it stays.
    renumbered = torch.full((width + 1,), -1, dtype=new.dtype, device=new.device)
    renumbered[source[kept]] = kept
    placed = (target >= 0).nonzero().flatten()
    new[placed] = renumbered[old[target[placed]]]


def _entries(filters: Tensor, tie: Tie) -> Tensor:
    """Return the entries along an axis that belong to filters; -1 for those of no filter."""
    within = torch.arange(tie.block)
    entries = tie.offset + filters[:, None] * tie.block + within
    return torch.where(filters[:, None] >= 0, entries, -1).flatten()


def is_channels_last(tensor: Tensor) -> bool:
    """Tell whether a tensor of images or kernels has its channels innermost in memory."""
    return (
        tensor.ndim == 4
        and tensor.is_contiguous(memory_format=torch.channels_last)
        and not tensor.is_contiguous()
    )
