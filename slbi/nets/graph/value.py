"""What the walk knows of the value of a node."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from slbi.nets.graph.layout import Layout, Still

Given = Any
"""An argument of a node: a node, a constant, or either in tuples and lists."""

Computed = Any
"""What a node computes: a tensor on the meta device, a number, or either in tuples and lists."""

NO_FILTERS = "its entries are not filters"


@dataclass(frozen=True, slots=True)
class Laid:
    """A tensor, by the layout of each of its axes."""

    axes: tuple[Layout, ...]

    def replaced(self, axis: int, layout: Layout) -> "Laid":
        """Return it with another layout of one axis."""
        return Laid((*self.axes[:axis], layout, *self.axes[axis + 1 :]))


@dataclass(frozen=True, slots=True)
class Length:
    """A number that follows from the length of an axis."""

    layout: Layout
    exact: bool
    """Whether it is the length itself."""


Value = Laid | Length | list["Value"] | None
"""None is anything in which no filter can be."""


def still(length: int, reason: str = NO_FILTERS) -> Layout:
    """Return the layout of an axis without filters."""
    return (Still(length, reason),)


def blank(value: Computed, reason: str = NO_FILTERS) -> Value:
    """Return what is known of a computed value of which nothing is known but its shape."""
    if isinstance(value, Tensor):
        return Laid(tuple(still(length, reason) for length in value.shape))
    if isinstance(value, tuple | list):
        return [blank(part, reason) for part in value]
    if isinstance(value, dict):
        return [blank(part, reason) for part in value.values()]
    return None
