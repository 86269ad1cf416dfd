"""How many filters each group of a network has."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Widths(Mapping[str, int]):
    """Filters per group, in the order in which the data flow through them.

    Args:
        filters: group name -> number of filters, 1 or more.

    Raises:
        ValueError: a width is not a whole number of 1 or more.
    """

    filters: tuple[tuple[str, int], ...]

    def __init__(self, filters: Mapping[str, int]) -> None:
        for name, width in filters.items():
            if not isinstance(width, int) or isinstance(width, bool) or width < 1:
                raise ValueError(f"width of {name!r} must be a whole number >= 1, got {width!r}")
        object.__setattr__(self, "filters", tuple(filters.items()))

    def __getitem__(self, name: str) -> int:
        for group, width in self.filters:
            if group == name:
                return width
        raise KeyError(f"no group {name!r}; there are {', '.join(self)}")

    def __iter__(self) -> Iterator[str]:
        return (group for group, _ in self.filters)

    def __len__(self) -> int:
        return len(self.filters)

    def __hash__(self) -> int:
        return hash(self.filters)

    def replaced(self, changes: Mapping[str, int]) -> "Widths":
        """Return the widths with some groups changed.

        Raises:
            KeyError: a changed group does not exist.
        """
        for name in changes:
            self[name]
        return Widths({name: changes.get(name, width) for name, width in self.filters})
