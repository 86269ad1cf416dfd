"""A process of the service, as an operator sees it: started, killed, suspended, measured."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

STOP_SECONDS = 30.0
"""How long a process that was told to end may take before it is killed."""


class Process:
    """A command that can be started again after its end.

    Args:
        command: what to run.
        environment: added to this process's own, of which no `SLBI_…` is passed on.
        log: file to which its output is appended.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = tuple(command)
        own = {name: value for name, value in os.environ.items() if not name.startswith("SLBI_")}
        self._environment = {**own, **environment}
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )

    @property
    def pid(self) -> int:
        """Process id of the last start."""
        return self._started().pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it with SIGKILL and wait for the end."""
        self._started().kill()
        self._started().wait()

    def terminate(self, within_s: float) -> int | None:
        """Send SIGTERM and return the exit code, None if there was none within so many seconds."""
        self._started().terminate()
        try:
            return self._started().wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """End it kindly, and if that does not help, by force; nothing if it has ended."""
        if not self.running:
            return
        self._started().send_signal(signal.SIGCONT)
        if self.terminate(STOP_SECONDS) is None:
            self.kill()

    def rss_bytes(self) -> int:
        """Return how much memory it holds."""
        return status_bytes(self.pid, "VmRSS")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ValueError(f"{self._command[0]} must have been started")
        return self._process


def status_bytes(pid: int, field: str) -> int:
    """Return a size that the kernel tells of a process, e.g. VmRSS.

    Raises:
        LookupError: it tells none of this name.
    """
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise LookupError(f"/proc/{pid}/status must have {field}")


def peak_bytes(pid: int) -> int:
    """Return the most address space that a process ever had; 0 if it has ended."""
    try:
        return status_bytes(pid, "VmPeak")
    except (OSError, LookupError):
        return 0


def find(*arguments: str) -> int | None:
    """Return the id of the process whose command line holds these arguments in a row, if any."""
    wanted = "\0".join(["", *arguments, ""]).encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if wanted in line:
            return int(entry.name)
    return None


def parent(pid: int) -> int | None:
    """Return the id of a process's parent; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; return whether there was somebody to get it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def suspended(pids: Sequence[int]) -> Iterator[None]:
    """Let processes do nothing while the context lasts."""
    try:
        for pid in pids:
            send(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            send(pid, signal.SIGCONT)
