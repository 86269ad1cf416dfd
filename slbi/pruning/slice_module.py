"""Mask or remove filters of any network."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

import torch
from torch import Tensor, nn

from slbi.nets.counted import settle
from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import resized
from slbi.nets.transfer import OptimizerT, tables, transferred_optimizer
from slbi.pruning.fold import absorb, constants


@dataclass(frozen=True, kw_only=True, slots=True)
class SlicedModule(Generic[OptimizerT]):
    """What slicing made of a network, and how far it may be trusted."""

    net: nn.Module
    optimizer: OptimizerT
    found: Found
    """Of `net`."""
    kept: Mapping[str, Tensor]
    """Group -> (O,) int64: for every filter left, the index it had."""
    inexact: tuple[str, ...]
    """Groups whose removed filters emitted something that a reader cannot take up. BatchNorm must
    then be recalibrated, see `recalibrate`."""


@torch.no_grad()
def masked_module(
    net: nn.Module, found: Found, keep: Mapping[str, Tensor], *, silent: bool = False
) -> nn.Module:
    """Return the network with the rows of filters that are not kept zero in every producer.

    Such a filter still emits a constant, the shift of its norm, unless `silent`. Towards a norm
    over filters it no longer counts; where no filter that counts is left, all that are left do.
    The network given is left as it is.

    Args:
        net: any network.
        found: of `net`.
        keep: group -> (O,) bool; a group that is not named is kept whole.
        silent: set scale and shift of those filters in their norms to zero too.

    Raises:
        ValueError: an unknown group, a mask that is not (O,) bool or keeps nothing, or a group over
            which a norm takes a statistic.
    """
    return _masked(net, found, _kept(net, found, keep), silent=silent)


@torch.no_grad()
def slice_module(
    net: nn.Module,
    optimizer: OptimizerT,
    found: Found,
    keep: Mapping[str, Tensor],
    *,
    shape: tuple[int, ...] | None = None,
) -> SlicedModule[OptimizerT]:
    """Return the network without the filters that are not kept, and its optimizer.

    In evaluation it equals the masked network. What masked filters still emit is taken up by their
    readers, as `slice_filters` does; without a shape it is dropped, which equals the silent mask
    wherever what lies between a norm and its readers answers zero with zero. The pair given is left
    as it is.

    Args:
        net: any network.
        optimizer: drives parameters of `net`. Its state travels with the filters.
        found: of `net`.
        keep: group -> (O,) bool; a group that is not named is kept whole.
        shape: of one input, without the batch, to see what masked filters emit.

    Raises:
        ValueError: as `masked_module`, or a parameter of the optimizer that is not the network's.

    Source: docs/method.md, "Coupling".
    """
    stays = _kept(net, found, keep)
    kept = {group: mask.nonzero().flatten() for group, mask in stays.items()}
    whole, inexact = net, set()
    if shape is not None:
        whole = _masked(net, found, stays, silent=False)
        image = next(net.parameters()).new_zeros(1, *shape)
        emitted = list(constants(whole, found.coupling, stays, image))
        absorb(whole, emitted)
        inexact = {constant.group for constant in emitted if not constant.exact}
    small, after = resized(whole, found, kept)
    for counted in _counted(found):
        settle(small.get_buffer(counted))
    carried = transferred_optimizer(optimizer, net, small, found.coupling, found.widths, kept)
    return SlicedModule(
        net=small,
        optimizer=carried,
        found=after,
        kept=kept,
        inexact=tuple(group for group in found.widths if group in inexact),
    )


def _masked(net: nn.Module, found: Found, kept: Mapping[str, Tensor], *, silent: bool) -> nn.Module:
    quiet = copy.deepcopy(net)
    ties = found.coupling.by_tensor()
    gone = {
        group: torch.where(stays, torch.arange(len(stays)), -1) for group, stays in kept.items()
    }
    roles = {"producer", "parameter", "norm"} if silent else {"producer", "parameter"}
    # What such a norm makes of zero depends on the other filters, unless its scale is zero.
    scales = {f"{name.rpartition('.')[0]}.weight" for name in _counted(found)}
    for name, parameter in quiet.named_parameters():
        zeroed = [
            named
            for named in ties.get(name, [])
            if named[1].role in roles or (named[1].role == "norm" and name in scales)
        ]
        if zeroed:
            for axis, table in tables(parameter.shape, zeroed, found.widths, gone).items():
                rows = (table < 0).nonzero().flatten().to(parameter.device)
                parameter.index_fill_(axis, rows, 0.0)
    for name in _counted(found):
        buffer = quiet.get_buffer(name)
        (table,) = tables(buffer.shape, ties[name], found.widths, gone).values()
        settle(buffer, removed=table < 0)
    return quiet


def _counted(found: Found) -> set[str]:
    """Return the buffers that say which filters count towards a norm's statistic."""
    return {tensor for group in found.coupling.groups for tensor in group.tensors("counted")}


def _kept(net: nn.Module, found: Found, keep: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a mask for every group: what is asked for, and positions that a route feeds."""
    kept = {group: torch.ones(width, dtype=torch.bool) for group, width in found.widths.items()}
    for name, mask in keep.items():
        if name not in kept:
            raise ValueError(f"groups to keep must be among {', '.join(kept)}, got {name!r}")
        if mask.dtype != torch.bool or mask.shape != kept[name].shape:
            raise ValueError(
                f"mask of {name!r} must be bool of shape {tuple(kept[name].shape)}, "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )
        if not mask.any():
            raise ValueError(f"group {name!r} must keep at least one filter, got none")
        blended = found.coupling.group(name).blended
        if blended is not None and not mask.all():
            raise ValueError(f"group {name!r} must keep its width: {blended}")
        kept[name] = mask.cpu()
    for route in found.coupling.routes:
        table = net.get_buffer(route.buffer).cpu()
        kept[route.target] |= (table >= 0) & kept[route.source][table.clamp(min=0)]
    return kept
