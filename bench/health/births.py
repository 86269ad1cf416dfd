"""Whether grown filters learn: their gradients in the first epoch, against those of their layer.

A filter is one slice of a weight, a layer is that weight. A filter's gradient norm at a step is the
Euclidean norm of the loss's gradient over the slice, without decay and pull of twins. What is
compared is its mean over `WINDOW` steps in a row, with the median of the same mean over all filters
that the layer had when the filter was born, new ones included. A filter has reached its layer if
its share of the median is `SHARE` or more in one of the windows of the first epoch after its birth.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.family.trunk import Means, Trunk, Widen
from slbi.nets.coupling import Tie
from slbi.nets.graph.find import Found
from slbi.nets.widths import Widths

WINDOW: Final = 8
"""Steps of a mean: enough to even out single batches, few enough to fit into every stage."""

SHARE: Final = 0.25
"""Share of the median at which a filter counts as learning."""


@dataclass(kw_only=True)
class Birth:
    """The filters that one widening gave one layer."""

    layer: str
    """Name of the weight."""
    group: str
    round: int
    """Which widening of the trunk, from 1."""
    before: int
    """Filters of the layer before."""
    after: int
    norms: list[Tensor] = field(default_factory=list)
    """(after,) gradient norms of each step of the first epoch."""


class Watch:
    """Follows the gradients of a trunk from every widening on, for an epoch.

    A trunk that is done earlier leaves shorter records.

    Args:
        epoch: steps of an epoch.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.births: list[Birth] = []
        self._round = 0

    def around(self, widen: Widen) -> Widen:
        """Return the same way to widen, watched."""

        def watched(trunk: Trunk, widths: Widths, means: Means) -> tuple[nn.Module, Optimizer]:
            net, optimizer = widen(trunk, widths, means)
            self.follow(net, optimizer, trunk.found.resized(widths), trunk.found.widths)
            return net, optimizer

        return watched

    def follow(self, net: nn.Module, optimizer: Optimizer, found: Found, before: Widths) -> None:
        """Watch a widened network from its next step on, in place of its optimizer.

        Args:
            net: the widened network.
            optimizer: drives it.
            found: of `net`.
            before: widths before.
        """
        self._round += 1
        ties = made(net, found)
        self.births += [
            Birth(
                layer=tie.tensor,
                group=group,
                round=self._round,
                before=before[group],
                after=found.widths[group],
            )
            for group, tie in ties.values()
            if found.widths[group] > before[group]
        ]

        def look(_optimizer: Optimizer, _args: tuple[Any, ...], _named: dict[str, Any]) -> None:
            self._look(net, found.widths, ties)

        optimizer.register_step_pre_hook(look)

    def _look(self, net: nn.Module, widths: Widths, ties: Mapping[str, tuple[str, Tie]]) -> None:
        """Keep the gradient norms of every layer that has young filters."""
        young = [birth for birth in self.births if len(birth.norms) < self.epoch]
        norms = {}
        for layer in {birth.layer for birth in young}:
            group, tie = ties[layer]
            gradient = net.get_parameter(layer).grad
            if gradient is None:
                raise ValueError(f"every layer must have a gradient, {layer} has none")
            norms[layer] = tie.entries(gradient, widths[group]).norm(dim=1)  # (O,)
        for birth in young:
            birth.norms.append(norms[birth.layer][: birth.after].clone())


def made(net: nn.Module, found: Found) -> dict[str, tuple[str, Tie]]:
    """Return weight -> group and tie of everything that makes filters; biases are left out."""
    return {
        tie.tensor: (group.name, tie)
        for group in found.coupling.groups
        for tie in group.made()
        if net.get_parameter(tie.tensor).ndim > 1
    }


def shares(norms: Tensor, before: int, window: int) -> Tensor:
    """Return what new filters have of the median of their layer, window by window.

    Args:
        norms: (T, O) gradient norms, one step or more.
        before: filters that are not new.
        window: steps of a mean; all of them where there are fewer.

    Returns:
        (windows, O - before). Where the median is zero, a filter of zero has zero.
    """
    means = norms.unfold(0, min(window, len(norms)), 1).mean(-1)  # (windows, O)
    median = means.quantile(0.5, dim=1, keepdim=True)
    return means[:, before:] / median.clamp(min=torch.finfo(means.dtype).tiny)
