"""The high-water mark of this process's memory, as Linux keeps it."""

from pathlib import Path

_MARK = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def forget_peak() -> None:
    """Let the mark begin anew at what the process has now, where there is one.

    Source: the value 5 in proc_pid_clear_refs(5).
    """
    if _MARK.exists():
        _MARK.write_text("5", encoding="ascii")


def peak_mb() -> int | None:
    """Return the most memory the process had since, 10^6 bytes; None where nobody keeps it."""
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 // 10**6
    return None
