"""Set the filters that are not kept to zero: the weights on the support."""

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from slbi.nets.counted import settle
from slbi.nets.coupling import FilterGroup, Tie
from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import NetT, known
from slbi.pruning.keep import settled


@torch.no_grad()
def masked(
    net: NetT,
    keep: Mapping[str, Tensor],
    *,
    found: Found | None = None,
    silent: bool = False,
    bias: bool = True,
) -> NetT:
    """Return the network with the rows of filters that are not kept zero in every producer.

    Such a filter still emits a constant, the shift of its norm, unless `silent`. Towards a norm
    over filters it no longer counts; where no filter that counts is left, all that are left do. A
    group of which nothing would be left keeps its filter of the largest norm, as slicing must. The
    network given is left as it is.

    Args:
        net: the network.
        keep: group -> (O,) bool; a group that is not named is kept whole.
        found: of `net`; None for a backbone, which knows itself.
        silent: set scale and shift of those filters in their norms to zero too.
        bias: set their biases to zero too.

    Raises:
        ValueError: an unknown group, a mask that is not (O,) bool, or a group that loses filters
            over which a norm takes a statistic.

    Source: docs/method.md, "Slice".
    """
    whole = known(net, found)
    selected = settled(net, keep, found=whole).selected
    result = copy.deepcopy(net)
    uncounted: dict[str, list[Tensor]] = {}
    for group in whole.coupling.groups:
        gone = ~selected[group.name]
        if gone.any():
            for tie in _rows(net, group, silent=silent, bias=bias):
                parameter = result.get_parameter(tie.tensor)
                parameter.index_fill_(tie.axis, _places(tie, gone).to(parameter.device), 0.0)
            for tie in group.ties:
                if tie.role == "counted":
                    uncounted.setdefault(tie.tensor, []).append(_places(tie, gone))
    for name, places in uncounted.items():
        counted = result.get_buffer(name)
        removed = torch.zeros_like(counted)
        removed[torch.cat(places).to(removed.device)] = True
        settle(counted, removed)
    return result


def filter_masks(
    net: nn.Module,
    keep: Mapping[str, Tensor],
    *,
    found: Found | None = None,
    silent: bool = True,
) -> dict[str, Tensor]:
    """Return what must stay zero so that filters which are not kept stay silent.

    Args:
        net: the network.
        keep: group -> (O,) bool; a group that is not named is free.
        found: of `net`; None for a backbone, which knows itself.
        silent: False masks the weights alone; a filter then emits what biases and norms make of
            zero.

    Returns:
        Parameter -> bool, (O, 1, ...), True where it is free, for every parameter with a row a
        filter: weights, biases, and the scales and shifts of norms. A group of which nothing would
        be left keeps its filter of the largest norm.

    Raises:
        ValueError: as `masked`.

    Source: docs/method.md, "Prune".
    """
    whole = known(net, found)
    selected = settled(net, keep, found=whole).selected
    masks: dict[str, Tensor] = {}
    for group in whole.coupling.groups:
        if group.name in keep:
            for tie in _rows(net, group, silent=silent, bias=silent):
                length = net.get_parameter(tie.tensor).shape
                shape = [length[axis] if axis == tie.axis else 1 for axis in range(len(length))]
                mask = masks.setdefault(tie.tensor, torch.ones(shape, dtype=torch.bool))
                mask.index_fill_(tie.axis, _places(tie, ~selected[group.name]), 0)
    return masks


def _rows(net: nn.Module, group: FilterGroup, *, silent: bool, bias: bool) -> Iterator[Tie]:
    """Yield the ties of the parameters whose rows a mask sets to zero."""
    parameters = dict(net.named_parameters())
    # What a norm over filters makes of zero depends on the others, unless its scale is zero.
    scales = {f"{name.rpartition('.')[0]}.weight" for name in group.tensors("counted")}
    for tie in group.ties:
        if tie.tensor not in parameters:  # a statistic
            continue
        made = tie.role == "producer" and (bias or parameters[tie.tensor].ndim > 1)
        normed = tie.role == "norm" and (silent or tie.tensor in scales)
        if made or normed or tie.role == "parameter":
            yield tie


def _places(tie: Tie, filters: Tensor) -> Tensor:
    """Return the entries of a tensor that belong to some filters, (O,) bool -> int64."""
    first = tie.offset + filters.nonzero() * tie.block  # (n, 1)
    return (first + torch.arange(tie.block)).flatten()
