"""Masks of a run: what its support leaves free, and the network under it."""

import torch
from torch import Tensor

from slbi.pruning.hold import Hold
from slbi.pruning.keep import settled
from slbi.pruning.mask import filter_masks
from worker.training.recipes.run import Run, Support


def lasting(run: Run, selected: Support) -> Support:
    """Return what stays of every layer: its support, or what is largest where that is empty.

    Args:
        run: whose network and layers.
        selected: as `Run.selected` gives it.
    """
    filters = settled(run.net, filters_of(run, selected)).selected
    return {
        layer.name: filters[layer.name]
        if layer.structure == "filter"
        else _some(selected[layer.name], run.net.get_parameter(layer.name))
        for layer in run.layers
    }


def support_masks(run: Run, support: Support) -> dict[str, Tensor]:
    """Return parameter -> what may differ from zero, by what stays of every layer.

    A filter outside of it is silent: its bias, and scale and shift of its norm, are masked too.

    Args:
        run: whose network and layers.
        support: as `lasting` gives it.
    """
    single = {
        layer.name: support[layer.name] for layer in run.layers if layer.structure == "element"
    }
    return {**filter_masks(run.net, filters_of(run, support)), **single}


def filters_of(run: Run, support: Support) -> dict[str, Tensor]:
    """Return the part of a support that is of layers of filters."""
    return {layer.name: support[layer.name] for layer in run.layers if layer.structure == "filter"}


def impose(run: Run, masks: dict[str, Tensor]) -> None:
    """Put the network of a run under masks from now on, in place; they are copied."""
    # What a run remembers may be the same tensors, and a state cannot hold one tensor twice.
    run.masks = {name: mask.clone() for name, mask in masks.items()}
    Hold(run.net, masks).apply()


def _some(support: Tensor, weight: Tensor) -> Tensor:
    """Return the support, or the largest entry of the weight where it is empty."""
    if bool(support.any()):
        return support
    only = torch.zeros(support.numel(), dtype=torch.bool, device=support.device)
    only[weight.detach().abs().flatten().argmax()] = True
    return only.view(support.shape)
