"""What the walk writes down of tensors and modules: who owns their entries, and in which role."""

from dataclasses import dataclass, field

from torch import nn

from slbi.nets.coupling import Role
from slbi.nets.graph.layout import Filters, Layout


@dataclass(slots=True)
class Entry:
    """One axis of one tensor."""

    layout: Layout
    role: Role
    fill: float = 0.0
    absorber: str | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A module's attribute that counts the entries of an axis, or every `divisor` of them."""

    module: str
    name: str
    index: int | None
    layout: Layout
    divisor: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A table that carries filters of one axis to positions of another."""

    source: Layout
    target: Layout
    absorber: str | None


@dataclass(slots=True)
class Sheet:
    """The record of one network. Its tensors are known by their first name in `state_dict()`."""

    net: nn.Module
    filters: Filters = field(default_factory=Filters)
    entries: dict[tuple[str, int], Entry] = field(default_factory=dict)
    numbers: dict[tuple[str, str, int | None], Number] = field(default_factory=dict)
    passages: dict[str, Passage] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tensors = [*self.net.named_parameters(), *self.net.named_buffers()]
        for name, tensor in tensors:
            self._names.setdefault(id(tensor), name)

    def name(self, module: str, attribute: str) -> str | None:
        """Return the name of a tensor that a module owns, or None: it has none, or computes it."""
        return self.named(getattr(self.net.get_submodule(module), attribute, None))

    def named(self, tensor: object) -> str | None:
        """Return the name of a parameter or buffer, or None: it is none of the network's."""
        return self._names.get(id(tensor))

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        module, _, attribute = tensor.rpartition(".")
        return tuple(getattr(self.net.get_submodule(module), attribute).shape)

    def axis(self, tensor: str, axis: int, role: Role) -> Entry:
        """Return what is known of an axis, of filters of its own if nothing is."""
        if (tensor, axis) not in self.entries:
            layout = self.filters.fresh(self.shape(tensor)[axis])
            self.entries[tensor, axis] = Entry(layout, role)
        return self.entries[tensor, axis]

    def tie(
        self,
        tensor: str,
        axis: int,
        layout: Layout,
        role: Role,
        *,
        fill: float = 0.0,
        absorber: str | None = None,
    ) -> None:
        """Write down, in place, that an axis is indexed by the filters of a layout."""
        known = self.entries.get((tensor, axis))
        if known is not None:
            self.filters.unify(known.layout, layout)
        self.entries[tensor, axis] = Entry(layout, role, fill, absorber)

    def count(
        self, module: str, name: str, layout: Layout, *, index: int | None = None, divisor: int = 1
    ) -> None:
        """Write down, in place, that an attribute of a module follows the length of an axis.

        An attribute that does not hold that number now means something else.
        """
        held = getattr(self.net.get_submodule(module), name, None)
        number = held[index] if isinstance(held, tuple) and index is not None else held
        if number == self.filters.length(layout) // divisor:
            self.numbers[module, name, index] = Number(module, name, index, layout, divisor)
