"""Mask or remove filters of any network."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import resized
from slbi.nets.transfer import OptimizerT, tables, transferred_optimizer


@torch.no_grad()
def masked_module(net: nn.Module, found: Found, keep: Mapping[str, Tensor]) -> nn.Module:
    """Return the network in which filters that are not kept are silent.

    Their rows are zero in every producer, and so are scale and shift in their norms. The network
    given is left as it is.

    Args:
        net: any network.
        found: of `net`.
        keep: group -> (O,) bool; a group that is not named is kept whole.

    Raises:
        ValueError: an unknown group, a mask that is not (O,) bool or keeps nothing, or a group over
            which a norm takes a statistic.
    """
    kept = _kept(net, found, keep)
    silent = copy.deepcopy(net)
    ties = found.coupling.by_tensor()
    gone = {
        group: torch.where(stays, torch.arange(len(stays)), -1) for group, stays in kept.items()
    }
    for name, parameter in silent.named_parameters():
        speaking = [named for named in ties.get(name, []) if named[1].role != "reader"]
        if speaking:
            for axis, table in tables(parameter.shape, speaking, found.widths, gone).items():
                zero = (table < 0).nonzero().flatten().to(parameter.device)
                parameter.index_fill_(axis, zero, 0.0)
    return silent


@torch.no_grad()
def slice_module(
    net: nn.Module, optimizer: OptimizerT, found: Found, keep: Mapping[str, Tensor]
) -> tuple[nn.Module, OptimizerT, Found]:
    """Return the network without the filters that are not kept, its optimizer, and its coupling.

    In evaluation it equals `masked_module`, wherever what lies between a norm and its readers
    answers zero with zero. The pair given is left as it is.

    Args:
        net: any network.
        optimizer: drives parameters of `net`. Its state travels with the filters.
        found: of `net`.
        keep: group -> (O,) bool; a group that is not named is kept whole.

    Raises:
        ValueError: as `masked_module`, or a parameter of the optimizer that is not the network's.

    Source: docs/method.md, "Coupling".
    """
    kept = _kept(net, found, keep)
    sources = {group: stays.nonzero().flatten() for group, stays in kept.items()}
    small, after = resized(net, found, sources)
    carried = transferred_optimizer(optimizer, net, small, found.coupling, found.widths, sources)
    return small, carried, after


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
