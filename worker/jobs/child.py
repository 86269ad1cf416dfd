"""One training process, seen from its parent."""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO

_KEPT_LINES = 20
_LONGEST_LINE = 500
_DRAIN_SECONDS = 2.0
"""How long to wait for a dead process's last lines; a grandchild may still hold the pipe."""


class Child:
    """A process in a session of its own, so that all it starts can be killed with it.

    What it writes is passed on to this process's stderr; the last lines are kept.

    Args:
        command: what to run.
        variables: added to this process's environment.
    """

    def __init__(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - the supervisor's own command
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **variables},  # passed on, not read: PATH, CUDA_VISIBLE_DEVICES, …
        )
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._drain = threading.Thread(
            target=self._pass_on,
            args=(self._process.stdout,),
            name="slbi-child-output",
            daemon=True,
        )
        self._drain.start()

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its group and session."""
        return self._process.pid

    def exited(self, within_s: float) -> bool:
        """Wait for the end at most so long; return whether it has come."""
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process and all it started."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process and all it started."""
        self._signal(signal.SIGKILL)

    def collect(self) -> tuple[int, str]:
        """Wait for the end, kill whatever the process left running, and say how it ended.

        Returns:
            The exit code, negative for a signal, and the last line written or nothing.
        """
        code = self._process.wait()
        self.kill()
        self._drain.join(_DRAIN_SECONDS)
        written = [line.strip() for line in self._lines if line.strip()]
        return code, written[-1][:_LONGEST_LINE] if written else ""

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # everybody in the group is gone already

    def _pass_on(self, stream: IO[bytes]) -> None:
        with stream:
            for raw in stream:
                line = raw.decode(errors="replace")
                self._lines.append(line)
                sys.stderr.write(line)
