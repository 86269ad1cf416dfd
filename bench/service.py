"""The whole service as a process of its own, as people start it, for benchmarks and the demo."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

READY = re.compile(r"ready at (http://\S+)")
"""What `slbi serve` prints when it answers."""


@contextmanager
def served(home: Path) -> Iterator[str]:
    """Start `slbi serve` on a free port, give its address once it answers, and stop it in the end.

    What it logs goes to `home`/serve.log.

    Raises:
        RuntimeError: It ended before it was ready.
    """
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "service.cli.main", "serve", "--port", "0"]
    log = home / "serve.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [*command, "--home", str(home)], stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield _address(process.stdout or (), log)
        finally:
            process.terminate()
            process.wait()


def _address(output: Iterable[str], log: Path) -> str:
    for line in output:
        if found := READY.search(line):
            return found.group(1)
    raise RuntimeError(f"slbi serve must say that it is ready, it ended; see {log}")
