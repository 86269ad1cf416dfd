"""What Linux knows about processes: dying with the parent, kills for want of memory."""

import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
"""Source: linux/prctl.h."""


class OrphanedError(Exception):
    """The process that should watch over this one is gone."""


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends.

    Args:
        parent: process id of the parent, as the parent knew it.

    Raises:
        OrphanedError: the parent died before the kernel was asked.
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl(PR_SET_PDEATHSIG) must work: {os.strerror(code)}")
    if os.getppid() != parent:
        raise OrphanedError(f"the parent must be process {parent}, it is {os.getppid()}")


def kernel_kills(vmstat: Path = Path("/proc/vmstat")) -> int:
    """Return how many processes the kernel has killed for want of memory since it started."""
    try:
        lines = vmstat.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    counts = dict(line.split(maxsplit=1) for line in lines if line)
    return int(counts.get("oom_kill", "0"))
