"""What comes of a growth: networks, simple to complex, and the path that led there."""

import math
from dataclasses import dataclass
from typing import Literal

from torch import nn

from slbi.nets.graph.find import Found
from slbi.structure.path import PathList

Kind = Literal["grown", "pruned", "tuned"]
"""A round's network, what its support left of it, or either of the last ones after tuning. With
targets: grown is the network before it is annealed for a target, and that of a station; tuned is
the target's network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One network of a family."""

    net: nn.Module
    """A copy in evaluation, where it was trained."""
    found: Found
    """Its coupling and widths."""
    kind: Kind
    origin: str
    """How it came about, e.g. "round 2", "round 2, support", "tuned", "support, tuned"; with
    targets "before target 1", "target 1 of 3: max_macs 500000" and
    "station before target 1 of 3: max_macs 200000"."""
    params: int
    macs: int
    """Multiply-accumulates of one input."""
    score: float
    """How good it is, the higher the better; NaN where nothing tells."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grown:
    """What came of a growth."""

    members: tuple[Member, ...]
    """In the order in which they came about."""
    ended: str
    """Why the rounds ended, for people."""
    path: PathList
    """Which filters were in the support after every epoch, and every widening with its reason."""
    compute: int
    """Multiply-accumulates that were spent on training, and on measuring norms anew."""

    @property
    def best(self) -> Member:
        """Return the member of the highest score, of equals the one of the fewest MACs.

        Where no scores were told it is the grown network, tuned, or that of the last target.
        """
        told = [member for member in self.members if not math.isnan(member.score)]
        if told:
            return max(told, key=lambda member: (member.score, -member.macs))
        return [member for member in self.members if "support" not in member.origin][-1]
