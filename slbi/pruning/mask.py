"""Set the filters that are not kept to zero: the weights on the support."""

from collections.abc import Mapping

import torch
from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.nets.coupling import FilterGroup
from slbi.nets.transfer import carry_net
from slbi.pruning.keep import settled


@torch.no_grad()
def masked(
    net: Backbone, keep: Mapping[str, Tensor], *, silent: bool = False, bias: bool = True
) -> Backbone:
    """Return the network with the rows of filters that are not kept zero in every producer.

    Such a filter still emits a constant, the shift of its norm, unless `silent`. A group of which
    nothing would be left keeps its filter of the largest norm, as slicing must. The network given
    is left as it is.

    Args:
        net: the network.
        keep: group -> (O,) bool; a group that is not named is kept whole.
        silent: set scale and shift of those filters in their norms to zero too.
        bias: set their biases to zero too.

    Raises:
        ValueError: an unknown group, or a mask that is not (O,) bool.

    Source: docs/method.md, "Slice".
    """
    selected = settled(net, keep).selected
    result = net.hollow(net.widths)
    carry_net(net, result, {group: torch.arange(width) for group, width in net.widths.items()})
    for group in net.coupling().groups:
        for name in _rows(net, group, silent=silent, bias=bias):
            parameter = result.get_parameter(name)
            parameter[~selected[group.name].to(parameter.device)] = 0.0
    return result


def filter_masks(
    net: Backbone, keep: Mapping[str, Tensor], *, silent: bool = True
) -> dict[str, Tensor]:
    """Return what must stay zero so that filters which are not kept stay silent.

    Args:
        net: the network.
        keep: group -> (O,) bool; a group that is not named is free.
        silent: False masks the weights alone; a filter then emits what biases and norms make of
            zero.

    Returns:
        Parameter -> bool, (O, 1, ...), True where it is free, for every parameter with a row a
        filter: weights, biases, and the scales and shifts of norms. A group of which nothing would
        be left keeps its filter of the largest norm.

    Raises:
        ValueError: an unknown group, or a mask that is not (O,) bool.

    Source: docs/method.md, "Prune".
    """
    selected = settled(net, keep).selected
    masks = {}
    for group in net.coupling().groups:
        if group.name in keep:
            for name in _rows(net, group, silent=silent, bias=silent):
                parameter = net.get_parameter(name)
                shape = (-1, *(1 for _ in parameter.shape[1:]))
                masks[name] = selected[group.name].view(shape).clone()
    return masks


def _rows(net: Backbone, group: FilterGroup, *, silent: bool, bias: bool) -> tuple[str, ...]:
    """Return the parameters whose rows a mask sets to zero."""
    producers = group.tensors("producer")
    rows = tuple(name for name in producers if bias or net.get_parameter(name).ndim > 1)
    if not silent:
        return rows
    affine = (name for name in group.tensors("norm") if name.endswith((".weight", ".bias")))
    return (*rows, *affine)
