"""Which tensors share a filter axis: the ground on which widening and slicing stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from slbi.nets.widths import Widths

Role = Literal["producer", "norm", "counted", "reader", "parameter"]
"""What a tensor does with the filters along its axis: make them, normalise (or scale) them, say
which of them count towards a norm's statistic, read them, or, as a parameter that the code itself
uses, something else."""

NEUTRAL = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
"""What a norm holds for a filter that it leaves as it is."""


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
    offset: int = 0
    """Entry of the axis at which its filters begin, e.g. behind other groups in a concatenation."""
    fill: float = 0.0
    """What the tensor holds for a new filter: the neutral value of a norm, else zero."""

    def entries(self, tensor: Tensor, width: int) -> Tensor:
        """Return what a tensor holds of each filter, (O, ...) -> (width, entries of one filter).

        Args:
            tensor: the one that is tied.
            width: filters of the group.
        """
        taken = tensor.narrow(self.axis, self.offset, width * self.block)
        return taken.movedim(self.axis, 0).reshape(width, -1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """A buffer of indices that carries filters of one group into positions of another.

    `buffer` is (O,) int64, one entry a filter of `target`: the index of the filter of `source` that
    is added there, or -1 for none. A padding shortcut between two stages of a ResNet is one.
    """

    buffer: str
    source: str
    target: str
    absorber: str | None
    """(O,) tensor, added at every position of `target`, that can take up a constant which the
    route carries: the shift of a norm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribute:
    """A number that a module keeps of its widths, such as `in_channels`."""

    module: str
    name: str
    index: int | None
    """Position in a tuple, as in `normalized_shape`; None for a plain number."""
    constant: int
    terms: tuple[tuple[str, int], ...]
    """Groups, each with the entries of one of its filters: the number is `constant` and the sum of
    width x entries, divided by `divisor`."""
    divisor: int = 1

    def value(self, widths: Widths) -> int:
        """Return the number at some widths."""
        entries = self.constant + sum(widths[group] * block for group, block in self.terms)
        return entries // self.divisor


@dataclass(frozen=True, kw_only=True, slots=True)
class Fixed:
    """Entries of a tensor that are no filters of any group, and why."""

    tensor: str
    axis: int | None
    """None: the whole tensor."""
    offset: int
    length: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterGroup:
    """Filters that can only be added or removed together, in every tensor that has their axis."""

    name: str
    """Its name in `Widths`."""
    kind: Literal["conv", "linear"]
    ties: tuple[Tie, ...]
    blended: str | None = None
    """Why no new filter is neutral and no filter silent: something takes a statistic over all of
    them. Such a group has the width that it starts with."""

    def made(self) -> tuple[Tie, ...]:
        """Return the ties of everything that makes its filters: weights, and their biases."""
        return tuple(tie for tie in self.ties if tie.role == "producer")

    def tensors(self, role: Role) -> tuple[str, ...]:
        """Return the names of the tensors tied in one role."""
        return tuple(tie.tensor for tie in self.ties if tie.role == role)


@dataclass(frozen=True, kw_only=True, slots=True)
class Coupling:
    """Every group of a network, in the order of its `Widths`, and the routes between them."""

    groups: tuple[FilterGroup, ...]
    routes: tuple[Route, ...] = ()
    """In the order in which the data flow: one pass follows a chain of routes."""
    attributes: tuple[Attribute, ...] = ()
    fixed: tuple[Fixed, ...] = ()
    """What cannot grow, each with its reason."""

    def group(self, name: str) -> FilterGroup:
        """Return one group.

        Raises:
            KeyError: there is no such group.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(f"no group {name!r}; there are {', '.join(g.name for g in self.groups)}")

    def at(self, before: Widths, after: Widths) -> "Coupling":
        """Return the coupling of the same network at other widths: what lies behind has moved."""
        axes = self.by_axis()

        def moved(tensor: str, axis: int, offset: int) -> int:
            grown = (
                (after[group] - before[group]) * tie.block
                for group, tie in axes.get((tensor, axis), [])
                if tie.offset < offset
            )
            return offset + sum(grown)

        groups = tuple(
            replace(
                group,
                ties=tuple(
                    replace(tie, offset=moved(tie.tensor, tie.axis, tie.offset))
                    if tie.offset
                    else tie
                    for tie in group.ties
                ),
            )
            for group in self.groups
        )
        fixed = tuple(
            replace(part, offset=moved(part.tensor, part.axis, part.offset))
            if part.offset and part.axis is not None
            else part
            for part in self.fixed
        )
        return replace(self, groups=groups, fixed=fixed)

    def called(self, names: Mapping[str, str], order: Sequence[str]) -> "Coupling":
        """Return the coupling with other names of its groups.

        Args:
            names: group -> its other name, for every group.
            order: the other names, as the groups are to be ordered.
        """
        groups = {
            names[group.name]: replace(group, name=names[group.name]) for group in self.groups
        }
        routes = tuple(
            replace(route, source=names[route.source], target=names[route.target])
            for route in self.routes
        )
        attributes = tuple(
            replace(
                attribute,
                terms=tuple((names[group], entries) for group, entries in attribute.terms),
            )
            for attribute in self.attributes
        )
        return replace(
            self,
            groups=tuple(groups[name] for name in order),
            routes=routes,
            attributes=attributes,
        )

    def below(self, prefix: str) -> "Coupling":
        """Return the coupling as a network sees it that holds this one, e.g. as "net."."""
        groups = tuple(
            replace(
                group,
                ties=tuple(
                    replace(
                        tie,
                        tensor=f"{prefix}{tie.tensor}",
                        absorber=None if tie.absorber is None else f"{prefix}{tie.absorber}",
                    )
                    for tie in group.ties
                ),
            )
            for group in self.groups
        )
        routes = tuple(
            replace(
                route,
                buffer=f"{prefix}{route.buffer}",
                absorber=None if route.absorber is None else f"{prefix}{route.absorber}",
            )
            for route in self.routes
        )
        attributes = tuple(
            replace(attribute, module=f"{prefix}{attribute.module}")
            for attribute in self.attributes
        )
        fixed = tuple(replace(part, tensor=f"{prefix}{part.tensor}") for part in self.fixed)
        return Coupling(groups=groups, routes=routes, attributes=attributes, fixed=fixed)

    def by_axis(self) -> dict[tuple[str, int], list[tuple[str, Tie]]]:
        """Return for every tied axis its ties in order, each with the name of its group."""
        axes: dict[tuple[str, int], list[tuple[str, Tie]]] = {}
        for group in self.groups:
            for tie in group.ties:
                axes.setdefault((tie.tensor, tie.axis), []).append((group.name, tie))
        for ties in axes.values():
            ties.sort(key=lambda named: named[1].offset)
        return axes

    def by_tensor(self) -> dict[str, list[tuple[str, Tie]]]:
        """Return for every tied tensor its ties, each with the name of its group."""
        ties: dict[str, list[tuple[str, Tie]]] = {}
        for group in self.groups:
            for tie in group.ties:
                ties.setdefault(tie.tensor, []).append((group.name, tie))
        return ties
