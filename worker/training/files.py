"""Files that are either whole or absent, whatever is killed meanwhile."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Mark = Callable[[str], None]
"""Called with the name of a place between two writes, e.g. "publish.file.before", at which tests
let the process die."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class NoSpaceError(OSError):
    """There was no room for a file; nothing of it is left.

    Args:
        path: of the file.
        needed: bytes it would have taken.
    """

    def __init__(self, path: Path, needed: int) -> None:
        super().__init__(errno.ENOSPC, f"there must be room for {needed} bytes at {path.parent}")
        self.path, self.needed = path, needed

    def __reduce__(self) -> tuple[type["NoSpaceError"], tuple[Path, int]]:
        """Return how it is made again in another process."""
        return type(self), (self.path, self.needed)


def unmarked(_name: str) -> None:
    """Do nothing: the `Mark` of everybody but tests."""


def write_whole(path: Path, content: bytes, *, flow: str = "", mark: Mark = unmarked) -> None:
    """Write beside the target, then rename: a reader sees the old file or the whole new one.

    Args:
        path: in a folder that exists; a file of that name is replaced.
        content: of the file.
        flow: what the write belongs to, for the names of its marks.
        mark: called around each of the four steps: file, sync, rename, folder.

    Raises:
        NoSpaceError: the disk or a quota is full.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with temporary.open("wb") as file:
            with _around(flow, "file", mark):
                file.write(content)
                file.flush()
            with _around(flow, "sync", mark):
                os.fsync(file.fileno())
        with _around(flow, "rename", mark):
            temporary.replace(path)
        with _around(flow, "folder", mark):
            _sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise NoSpaceError(path, len(content)) from error
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _around(flow: str, step: str, mark: Mark) -> Iterator[None]:
    mark(f"{flow}.{step}.before")
    yield
    mark(f"{flow}.{step}.after")
