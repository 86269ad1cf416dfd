"""Carry weights, statistics and optimizer state from one network to another of other widths.

Widening, slicing and restarting are all this: for every group a table says which old filter each
new filter is, and every tensor travels along the axes that the group ties.
"""

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from slbi.nets.backbone import Backbone
from slbi.nets.coupling import Route, Tie
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


@torch.no_grad()
def carry_net(old: Backbone, new: Backbone, sources: Sources) -> None:
    """Copy every entry that has a source from `old` to `new`, in place in `new`.

    Entries without a source keep the value that `new` holds. Training flags, `requires_grad` and
    the channels-last layout are carried too.
    """
    coupling = old.coupling()
    ties = coupling.by_tensor()
    state = old.state_dict()
    if any(_is_channels_last(tensor) for tensor in state.values()):
        new.to(memory_format=torch.channels_last)
    routes = {route.buffer: route for route in coupling.routes}
    for name, tensor in new.state_dict().items():
        if name in routes:
            _carry_route(state[name], tensor, routes[name], sources)
        else:
            _carry_tensor(state[name], tensor, ties.get(name, []), sources)
    for name, module in new.named_modules():
        module.training = old.get_submodule(name).training
    for name, parameter in new.named_parameters():
        parameter.requires_grad_(old.get_parameter(name).requires_grad)


@torch.no_grad()
def carried_optimizer(
    optimizer: OptimizerT,
    old: Backbone,
    new: Backbone,
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
        sources: as for `carry_net`.
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
        ties = old.coupling().by_tensor()
        for parameter, state in optimizer.state.items():
            name = names[parameter]
            carried.state[new.get_parameter(name)] = {
                key: _carried_state(
                    value, parameter, new.get_parameter(name), ties.get(name, []), sources,
                    label=f"state {key!r} of {name!r}",
                )
                for key, value in state.items()
            }  # fmt: skip
    return carried


def _carried_group(
    group: Mapping[str, Any], names: Mapping[Tensor, str], new: Backbone
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
    value: object,
    old: Tensor,
    new: Tensor,
    ties: list[tuple[str, Tie]],
    sources: Sources,
    *,
    label: str,
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
    _carry_tensor(value, carried, ties, sources)
    return carried


def _carry_tensor(old: Tensor, new: Tensor, ties: list[tuple[str, Tie]], sources: Sources) -> None:
    """Copy along all tied axes, in place in `new`; other axes travel whole."""
    taken = old
    places: list[Tensor] = [torch.arange(length, device=new.device) for length in new.shape]
    for group, tie in ties:
        source = sources[group].to(new.device)
        kept = (source >= 0).nonzero().flatten()
        places[tie.axis] = _entries(kept, tie.block)
        taken = taken.index_select(tie.axis, _entries(source[kept], tie.block))
    if not ties:
        new.copy_(taken)
        return
    index = tuple(
        place.view([-1 if axis == other else 1 for other in range(new.ndim)])
        for axis, place in enumerate(places)
    )
    new[index] = taken


def _carry_route(old: Tensor, new: Tensor, route: Route, sources: Sources) -> None:
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


def _entries(filters: Tensor, block: int) -> Tensor:
    """Return the entries along an axis that belong to filters, `block` to each."""
    if block == 1:
        return filters
    within = torch.arange(block, device=filters.device)
    return (filters[:, None] * block + within).flatten()


def _is_channels_last(tensor: Tensor) -> bool:
    return (
        tensor.ndim == 4
        and tensor.is_contiguous(memory_format=torch.channels_last)
        and not tensor.is_contiguous()
    )
