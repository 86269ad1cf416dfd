"""Servers that nobody else uses, so that they may be stopped, emptied and filled."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from bench.faults.fault import NotRunError
from bench.faults.process import Process
from bench.faults.waiting import until

START_SECONDS = 30.0
"""How long a server may take to answer."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


class Redis:
    """A Redis server that keeps nothing over its end."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        self._client = redis.Redis.from_url(self.url)
        program = shutil.which("redis-server")
        if program is None:
            raise NotRunError("redis-server must be installed")
        options = ("--save", "", "--appendonly", "no", "--dir", str(folder))
        command = (program, "--bind", "127.0.0.1", "--port", str(port), *options)
        self.process = Process(command, {}, folder / "redis.log")

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process.start()
        until(self._answers, "Redis answers", within_s=START_SECONDS)

    def stop(self) -> None:
        """End it; it forgets all it held."""
        self.process.end()

    def flush(self) -> None:
        """Have it forget all it holds."""
        self._client.flushall()

    def _answers(self) -> bool:
        try:
            return bool(self._client.ping())
        except redis.ConnectionError:
            return False


@contextmanager
def open_folder() -> Iterator[Path]:
    """Give an empty folder that every user of the machine can reach, and remove it in the end."""
    folder = Path(tempfile.mkdtemp(prefix="slbi-faults-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def private_redis(folder: Path) -> Iterator[Redis]:
    """Give a Redis server while the context lasts."""
    server = Redis(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Postgres:
    """A PostgreSQL server on a folder that is not there yet; as root it runs as user postgres."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parts[-2])
        if not found:
            raise NotRunError("PostgreSQL must be installed in /usr/lib/postgresql")
        self._programs = found[-1]
        self._folder = folder
        self._port = free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self._port}"

    def create(self, wal_megabytes: int) -> None:
        """Make the folder, start the server and wait until it answers."""
        self._folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        options = ("--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8")
        self._run("initdb", *options, f"--wal-segsize={wal_megabytes}")
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -k {self._folder}"
        log = str(self._folder / "server.log")
        self._control("start", "-w", "-t", f"{START_SECONDS:g}", "-o", options, "-l", log)

    def stop(self, mode: str = "fast") -> None:
        """End it: fast, or immediate as a power cut would."""
        self._control("stop", "-w", "-m", mode)

    def start_if_ended(self) -> None:
        """Start it if it has given up by itself."""
        if not self.running():
            self.start()

    def running(self) -> bool:
        """Return whether it runs."""
        return self._control("status", check=False) == 0

    def restart(self) -> float:
        """End it as a power cut would, start it again, and return how long that took, s."""
        begun = time.monotonic()
        self.stop("immediate")
        self.start()
        return time.monotonic() - begun

    def _control(self, action: str, *options: str, check: bool = True) -> int:
        return self._run("pg_ctl", action, *options, check=check)

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        """Run one of the server's programs on its folder, and return the exit code."""
        command: Sequence[str] = (str(self._programs / program), "-D", str(self._folder))
        if os.geteuid() == 0:
            command = ("runuser", "-u", "postgres", "--", *command)
        # No pipes: the server would inherit them, and whoever reads would wait for its end.
        done = subprocess.run(
            [*command, *arguments],
            check=check,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return done.returncode


@contextmanager
def private_postgres(folder: Path, *, wal_megabytes: int = 16) -> Iterator[Postgres]:
    """Give a PostgreSQL server while the context lasts.

    Args:
        folder: for its files; not there yet, and every folder above it open to other users.
        wal_megabytes: size of a segment of its log.
    """
    server = Postgres(folder)
    server.create(wal_megabytes)
    try:
        yield server
    finally:
        if server.running():
            server.stop("immediate")
