"""Files that are either whole or absent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a place to write a file; at the end it is moved to `path`, where one is replaced.

    If the block raises, nothing is left of the new one.

    Args:
        path: in a folder that exists. The place has the same name: writers put it into the file.
    """
    with TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        place = Path(folder, path.name)
        yield place
        with place.open("rb+") as file:
            os.fsync(file.fileno())
        place.replace(path)
