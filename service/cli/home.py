"""The home of an embedded server belongs to one server at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.cli.exits import CommandError

LOCK = "lock"
"""File in the home that its server holds locked; it names the process and is never removed."""


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Make the home, and hold it as its only server.

    The kernel unlocks it when this process ends, however it ends. Training processes do not inherit
    the lock: Python opens files close-on-exec.

    Raises:
        CommandError: another server holds it.
        OSError: it cannot be made or locked.
    """
    import fcntl  # POSIX only, unlike the commands that ask a service elsewhere

    home.mkdir(parents=True, exist_ok=True)
    handle = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(_refusal(home, os.read(handle, 20))) from error
        with suppress(OSError):  # only for that sentence; a full disk must not keep a server down
            os.truncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


def _refusal(home: Path, written: bytes) -> str:
    other = f"process {written.decode()}" if written.isdigit() else "another process"
    return f"a home must have one server at a time, {home} is served by {other}"
