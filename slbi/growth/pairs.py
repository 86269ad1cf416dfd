"""Variance transfer: new filters come in pairs that cancel, and old ones make room for them.

Source: Yuan et al. 2023, arXiv 2306.12700: a new pair (V, V) of filters is read as (Z, -Z), so the
function stays while both learn from the first step on; all weights have the variance of a network
of the new width, for which the old ones are scaled down. Its learning rates by stage are not here.
"""

import math

import torch
from torch import nn

from slbi.growth.seed import RandomSeed, plots
from slbi.nets.coupling import Tie
from slbi.nets.graph.find import Found
from slbi.nets.initial import RELU_GAIN, deviation, draw
from slbi.nets.widths import Widths


class PairedSeed:
    """New filters in equal pairs that are read with opposite signs.

    Of an odd number the last one stays unread. Where a norm follows a reader, its old weights are
    scaled by the root of their share of the new fan-in, which the statistics of the norm take up:
    the network computes what it did but for the norm's epsilon. Elsewhere old weights stay.
    """

    @torch.no_grad()
    def plant(
        self, net: nn.Module, found: Found, before: Widths, generator: torch.Generator
    ) -> None:
        """Set the rows of new filters and the weights that read them, in place."""
        RandomSeed().plant(net, found, before, generator)
        for group in found.coupling.groups:
            for tie in group.ties:
                if tie.role == "reader" and found.widths[group.name] > before[group.name]:
                    _read(net, tie, before[group.name], found.widths[group.name], generator)
        for plot in plots(net, found, before):
            half = len(plot.rows) // 2
            turned = plot.weight.movedim(plot.axis, 0)
            turned[plot.rows[half : 2 * half]] = turned[plot.rows[:half]]


def _read(net: nn.Module, tie: Tie, old: int, new: int, generator: torch.Generator) -> None:
    """Let a reader read new filters, the second half of them with the other sign, in place."""
    weight = net.get_parameter(tie.tensor)
    half = (new - old) // 2
    turned = weight.movedim(tie.axis, 0)  # (I, ...)
    kept = slice(tie.offset, tie.offset + old * tie.block)
    first = kept.stop + half * tie.block
    fan = math.prod(weight.shape) // len(weight)
    normed = tie.absorber is not None and tie.absorber.endswith("running_mean")
    spread = deviation(fan, gain=RELU_GAIN if normed else 1.0)
    drawn = draw(tuple(turned[kept.stop : first].shape), weight, generator) * spread
    turned[kept.stop : first] = drawn
    turned[first : first + half * tie.block] = -drawn
    if normed and tie.absorber is not None:
        share = math.sqrt(old / new)
        turned[kept] *= share
        mean = net.get_buffer(tie.absorber)
        mean.mul_(share)
        net.get_buffer(tie.absorber.replace("running_mean", "running_var")).mul_(share**2)
