"""Named places around every write that matters, at which a test can have this process die.

Off unless `arm` was given a folder, which the settings do only if `SLBI_FAILPOINT_DIR` is set. A
failpoint fires when the folder holds a file of its name: the file is removed, so that it fires
once, and the process gets SIGKILL, or SIGSTOP if the file says "stop".
"""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

WRITES: Mapping[str, tuple[str, ...]] = {
    "claim": ("job", "attempt", "event", "worker", "commit"),
    "checkpoint": ("file", "sync", "rename", "folder", "row", "caps", "old", "commit", "unlink"),
    "publish": ("file", "sync", "rename", "folder", "artifact", "model", "event", "commit"),
    "attach": ("file", "sync", "rename", "folder", "old", "artifact", "event", "commit"),
    "findings": ("job", "event", "commit"),
    "finish": ("attempt", "ended", "job", "event", "commit"),
}
"""What is written in one flow, in this order. The last ones follow the commit."""

NAMES = tuple(
    f"{flow}.{write}.{side}"
    for flow, writes in WRITES.items()
    for write in writes
    for side in ("before", "after")
)
"""Every failpoint. Between two writes lie the one after the first and the one before the second."""

_armed: list[Path] = []


def arm(folder: Path | None) -> None:
    """Let failpoints fire by the files of a folder; None turns them off."""
    _armed[:] = [] if folder is None else [folder]


def hit(name: str) -> None:
    """Die here if this failpoint is aimed at.

    Raises:
        ValueError: there is no failpoint of this name, and any is armed.
    """
    if not _armed:
        return
    if name not in NAMES:
        raise ValueError(f"a failpoint must be one of {', '.join(NAMES)}, got {name}")
    aim = _armed[0] / name
    try:
        order = aim.read_text(encoding="utf-8").strip()
        aim.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGSTOP if order == "stop" else signal.SIGKILL)


@contextmanager
def around(write: str) -> Iterator[None]:
    """Put a failpoint before and one after a write, e.g. `claim.job`."""
    hit(f"{write}.before")
    yield
    hit(f"{write}.after")
