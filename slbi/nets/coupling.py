"""Which tensors share a filter axis: the ground on which widening and slicing stand."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["producer", "norm", "reader"]
"""What a tensor does with the filters along its axis: make them, normalise them, read them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tie:
    """One axis of one tensor that the filters of a group index."""

    tensor: str
    """Name of the parameter or buffer, as in `state_dict()`."""
    axis: int
    role: Role
    block: int = 1
    """Consecutive entries that belong to one filter, e.g. H * W in a reader behind a flatten."""
    absorber: str | None = None
    """For a reader: the tensor that can take up a constant which a filter feeds it, namely its
    own bias, or the running mean of the norm behind it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """A buffer of indices that carries filters of one group into positions of another.

    `buffer` is (O,) int64, one entry a filter of `target`: the index of the filter of `source` that
    is added there, or -1 for none. A padding shortcut between two stages of a ResNet is one.
    """

    buffer: str
    source: str
    target: str
    absorber: str
    """(O,) tensor, added at every position of `target`, that can take up a constant which the
    route carries: the shift of a norm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterGroup:
    """Filters that can only be added or removed together, in every tensor that has their axis."""

    name: str
    """Its name in `Widths`."""
    kind: Literal["conv", "linear"]
    ties: tuple[Tie, ...]

    def tensors(self, role: Role) -> tuple[str, ...]:
        """Return the names of the tensors tied in one role."""
        return tuple(tie.tensor for tie in self.ties if tie.role == role)


@dataclass(frozen=True, kw_only=True, slots=True)
class Coupling:
    """Every group of a network, in the order of its `Widths`, and the routes between them."""

    groups: tuple[FilterGroup, ...]
    routes: tuple[Route, ...] = ()
    """In the order in which the data flow: one pass follows a chain of routes."""

    def group(self, name: str) -> FilterGroup:
        """Return one group.

        Raises:
            KeyError: there is no such group.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(f"no group {name!r}; there are {', '.join(g.name for g in self.groups)}")

    def by_tensor(self) -> dict[str, list[tuple[str, Tie]]]:
        """Return for every tied tensor its ties, each with the name of its group."""
        ties: dict[str, list[tuple[str, Tie]]] = {}
        for group in self.groups:
            for tie in group.ties:
                ties.setdefault(tie.tensor, []).append((group.name, tie))
        return ties


def producer_ties(module: str, *, bias: bool = False) -> tuple[Tie, ...]:
    """Return the ties of a convolution or linear layer to the filters that it makes."""
    names = ("weight", "bias") if bias else ("weight",)
    return tuple(Tie(tensor=f"{module}.{name}", axis=0, role="producer") for name in names)


def norm_ties(module: str) -> tuple[Tie, ...]:
    """Return the ties of a BatchNorm to the filters that it normalises."""
    names = ("weight", "bias", "running_mean", "running_var")
    return tuple(Tie(tensor=f"{module}.{name}", axis=0, role="norm") for name in names)


def reader_tie(module: str, absorber: str, *, block: int = 1) -> Tie:
    """Return the tie of a convolution or linear layer to the filters that it reads."""
    return Tie(tensor=f"{module}.weight", axis=1, role="reader", block=block, absorber=absorber)
