"""Widen any network: more filters in every tensor that shares them, and the same function."""

import torch
from torch import nn

from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import resized, whole_sources
from slbi.nets.initial import deviation, draw
from slbi.nets.transfer import OptimizerT, Sources, appended, tables, transferred_optimizer
from slbi.nets.widths import Widths


def widen_module(
    net: nn.Module,
    optimizer: OptimizerT,
    found: Found,
    widths: Widths,
    *,
    generator: torch.Generator,
) -> tuple[nn.Module, OptimizerT, Found]:
    """Return a wider network that computes the same function, its optimizer, and its coupling.

    New filters come behind the old ones of their group. Nothing reads them yet, norms leave them as
    they are, and their rows are random as in a fresh network, over what was there before. State of
    the optimizer is carried and zero for new filters. The old pair is left as it is.

    Args:
        net: any network.
        optimizer: drives parameters of `net`, all or some.
        found: of `net`.
        widths: of the new network, none smaller than before.
        generator: source of the new rows.

    Raises:
        ValueError: other groups or fewer filters, a group over which a norm takes a statistic, or
            a parameter that is not the network's.

    Source: docs/method.md, "Coupling".
    """
    sources = appended(found.widths, widths)
    for group in found.coupling.groups:
        if group.blended is not None and widths[group.name] > found.widths[group.name]:
            raise ValueError(f"group {group.name!r} must keep its width: {group.blended}")
    wider, after = resized(net, found, sources)
    _plant(net, wider, found, sources, generator)
    carried = transferred_optimizer(optimizer, net, wider, found.coupling, found.widths, sources)
    return wider, carried, after


@torch.no_grad()
def _plant(
    net: nn.Module, wider: nn.Module, found: Found, sources: Sources, generator: torch.Generator
) -> None:
    """Set the rows of new filters over old columns to random ones, in place in `wider`."""
    before = dict(net.named_parameters())
    whole = whole_sources(found.widths, sources)
    ties = found.coupling.by_tensor()
    for name, weight in wider.named_parameters():
        axis = next((tie.axis for _, tie in ties.get(name, []) if tie.role == "producer"), None)
        if axis is None or weight.ndim < 2:
            continue
        along = tables(before[name].shape, ties[name], found.widths, whole)
        rows = (along.pop(axis) < 0).nonzero().flatten().to(weight.device)
        if not len(rows):
            continue
        shape = [*weight.shape]
        shape[axis] = len(rows)
        drawn = draw(tuple(shape), weight, generator)
        drawn *= deviation(before[name].numel() // before[name].shape[axis])
        for other, table in along.items():
            new = (table < 0).nonzero().flatten().to(weight.device)
            drawn.index_fill_(other, new, 0.0)
        weight.index_copy_(axis, rows, drawn)
