"""Masks of a network each of which lies within the one before: its filters go one by one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from slbi.pruning.keep import settled
from slbi.pruning.refill import refilled


@dataclass(frozen=True, kw_only=True)
class Nested:
    """What stays when so many filters have gone, those of the lowest rank first.

    Widths are rounded up by `refilled`, so that several numbers may leave the same filters. In a
    stream to which fewer positions of the stage before lead, the best of those that went comes back
    for them.
    """

    net: Backbone
    ranks: Mapping[str, Tensor]
    """Group -> (O,), comparable between groups; a group that is not named stays whole."""
    multiple: int = 1
    min_width: int | Mapping[str, int] = 1
    last: int = field(init=False)
    """So many filters may go at most: the first in rank of each group stays in any case."""
    places: Mapping[str, Tensor] = field(init=False)
    """Group -> (O,) int64, how many filters go before this one; `last` for those that stay."""

    def __post_init__(self) -> None:
        entries = sorted(
            (float(value), group, index)
            for group, values in self.ranks.items()
            for index, value in enumerate(values.tolist())
            if index != int(values.argmax())
        )
        places = {group: [len(entries)] * len(values) for group, values in self.ranks.items()}
        for place, (_, group, index) in enumerate(entries):
            places[group][index] = place
        object.__setattr__(self, "last", len(entries))
        tensors = {group: torch.tensor(numbers) for group, numbers in places.items()}
        object.__setattr__(self, "places", tensors)

    def keep(self, gone: int) -> dict[str, Tensor]:
        """Return group -> (O,) bool, what stays when so many filters have gone."""
        keep = {group: places >= gone for group, places in self.places.items()}
        return refilled(
            self.net, keep, self.ranks, multiple=self.multiple, min_width=self.min_width
        )

    def widths(self, gone: int) -> Widths:
        """Return the widths of the network that is sliced to that."""
        positions = settled(self.net, self.keep(gone)).positions
        return Widths({group: int(stays.sum()) for group, stays in positions.items()})
