"""`slbi serve` as a process that dies."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from bench.service import READY
from service.client.client import Client
from service.store.database import Database
from tests.yard import Yard, wait_for

LONG = {"dataset": "digits", "backbone": "vgg11", "tune": {"epochs": 1000}}


@contextmanager
def serving(home: Path) -> Iterator["tuple[subprocess.Popen[str], str]"]:
    """Give a server's process and its address once it answers; stop it in the end."""
    command = [sys.executable, "-m", "service.cli.main", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--home", str(home)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SLBI_LEASE_SECONDS": "30", "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            ready = (found for line in process.stdout or () if (found := READY.search(line)))
            yield process, next(ready).group(1)
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def yard(home: Path) -> Iterator[Yard]:
    """What the servers of the home have in their database."""
    home.mkdir()
    database = Database(f"sqlite:///{home / 'slbi.sqlite3'}")
    yield Yard(database, home)
    database.close()


def test_a_killed_server_has_its_job_taken_up_by_the_next_long_before_the_lease_ends(
    home: Path, yard: Yard
) -> None:
    with serving(home) as (first, address), Client(address) as client:
        job_id = uuid.UUID(client.submit(LONG)["id"])
        wait_for(lambda: len(yard.attempts(job_id)) == 1)
        (worker,) = yard.workers()
        other = subprocess.run(
            [sys.executable, "-m", "service.cli.main", "serve", "--home", str(home)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert other.returncode == 1
        assert f"{home} is served by process {first.pid}" in other.stderr
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    with serving(home) as (second, _):
        assert wait_for(lambda: len(yard.attempts(job_id)) == 2) < 5
        (again,) = yard.workers()
        assert (again.id, again.pid) == (worker.id, second.pid)
        assert again.started_at > worker.started_at
    lost, _ = yard.attempts(job_id)
    assert (lost.outcome, lost.reason) == ("lost", "The server was stopped while the job ran.")
    with yard.database.reading() as session:
        assert session.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
