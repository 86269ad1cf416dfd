"""A file as the body of a request, read anew for every try."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BYTES = 2**18
"""Read at once."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """The content of a file, from its beginning each time that it is asked for."""

    path: Path

    def __iter__(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while piece := file.read(_BYTES):
                yield piece
