"""Masks of a run: what its support leaves free, and the network under it."""

import torch
from torch import Tensor

from slbi.pruning.hold import Hold
from slbi.pruning.mask import filter_masks
from worker.training.recipes.run import Run, Support


def support_masks(run: Run, selected: Support) -> dict[str, Tensor]:
    """Return parameter -> what may differ from zero, by the support of every layer.

    A filter outside of it is silent: its bias, and scale and shift of its norm, are masked too. A
    layer of which nothing is selected keeps what is largest.

    Args:
        run: whose network and layers.
        selected: as `Run.selected` gives it.
    """
    filters, masks = {}, {}
    for layer in run.layers:
        support = selected[layer.name]
        if layer.structure == "filter":
            filters[layer.name] = support
        else:
            masks[layer.name] = _some(support, run.net.get_parameter(layer.name))
    return {**filter_masks(run.net, filters), **masks}


def impose(run: Run, masks: dict[str, Tensor]) -> None:
    """Put the network of a run under masks from now on, in place."""
    run.masks = masks
    Hold(run.net, masks).apply()


def _some(support: Tensor, weight: Tensor) -> Tensor:
    """Return the support, or the largest entry of the weight where it is empty."""
    if bool(support.any()):
        return support
    only = torch.zeros_like(support)
    only.view(-1)[weight.detach().abs().flatten().argmax()] = True
    return only
