"""docker-compose.yml as it stands, run as processes on real PostgreSQL and Redis.

Each container's command starts with its environment; only host names, paths, the password and the
port are those of this machine. So the file cannot fall behind the code.
"""

import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import make_url

from migrations.run import downgrade, upgrade
from service.cli.family import describe
from service.client.client import Client
from service.client.problem import Problem
from service.store.database import Database

ROOT = Path(__file__).parents[2]
JOB = {
    "dataset": "digits",
    "backbone": "vgg11",
    "growth": {"max_rounds": 1, "round_epochs": 1},
    "tune": {"epochs": 1, "pruned_epochs": 0},
}
FILLED = {"SLBI_POSTGRES_PASSWORD": secrets.token_hex(8)}
"""What .env would hold."""
REDIS_DATABASE = 9
"""A database of its own, so that a worker of another test takes no message of this one."""


class Topology:
    """The services of the file, with what of their environment must differ on this machine."""

    def __init__(self, postgresql: str, folder: Path) -> None:
        text = (ROOT / "docker-compose.yml").read_text()
        filled = re.sub(r"\$\{(\w+)(:[-?][^}]*)?\}", self._filled, text)
        self._services: dict[str, Any] = yaml.safe_load(filled)["services"]
        self._postgresql = make_url(postgresql)
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    @contextmanager
    def started(self, name: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Give a service's process, and stop it in the end as an engine would."""
        log = self._folder / f"{name}.log"
        command = [*self.command(name), *self._services[name]["command"]]
        with (
            log.open("wb") as output,
            subprocess.Popen(
                command, env=self.environment(name), cwd=self._folder, stdout=output, stderr=output
            ) as process,
        ):
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(20)
                finally:
                    process.kill()

    def run(self, name: str, *command: str) -> str:
        """Run a command in a service's place, or its own, and return what it printed."""
        ended = subprocess.run(
            [*self.command(name), *(command or self._services[name]["command"])],
            env=self.environment(name),
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def command(self, name: str) -> list[str]:
        """Return the entry point of the image that a service is built from."""
        target = self._services[name]["build"]["target"]
        dockerfile = (ROOT / "Dockerfile").read_text()
        stage = dockerfile.split(f" AS {target}\n")[1].split("\nFROM ")[0]
        assert 'ENTRYPOINT ["slbi"]' in stage
        return [sys.executable, "-m", "service.cli.main"]

    def environment(self, name: str) -> dict[str, str]:
        """Return a service's environment with this machine's addresses in it."""
        asked: dict[str, str] = dict(self._services[name]["environment"])
        database = make_url(asked["SLBI_DATABASE_URL"])
        assert (database.drivername, database.host) == ("postgresql+psycopg", "postgres")
        assert database.password == FILLED["SLBI_POSTGRES_PASSWORD"]
        asked["SLBI_DATABASE_URL"] = self._postgresql.render_as_string(hide_password=False)
        assert asked["SLBI_BROKER_URL"] == "redis://redis:6379/0"
        asked["SLBI_BROKER_URL"] = f"redis://127.0.0.1:6379/{REDIS_DATABASE}"
        asked["SLBI_ARTIFACT_DIR"] = str(self._folder / "artifacts")
        if "SLBI_PORT" in asked:
            asked["SLBI_PORT"] = str(self.port)
        inherited = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        return inherited | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | asked

    @staticmethod
    def _filled(variable: re.Match[str]) -> str:
        return FILLED.get(variable[1]) or (variable[2] or "").removeprefix(":-")


def _until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what} did not come within {seconds:g} s"
        time.sleep(0.1)


@pytest.fixture
def topology(postgresql: Database, tmp_path: Path) -> Iterator[Topology]:
    url = postgresql.engine.url.render_as_string(hide_password=False)
    downgrade(postgresql, "base")  # to see that the service `migrate` makes the tables
    yield Topology(url, tmp_path)
    upgrade(postgresql)


@pytest.mark.stack
@pytest.mark.usefixtures("redis_answers")
def test_a_job_goes_through_the_composed_services_and_its_checkpoint_comes_back(
    topology: Topology, tmp_path: Path
) -> None:
    topology.run("migrate")
    key = topology.run("api", "keys", "create", "compose").split()[-1]
    url = f"http://127.0.0.1:{topology.port}"
    with ExitStack() as running:
        api = running.enter_context(topology.started("api"))
        running.enter_context(topology.started("worker-cpu"))
        _until(lambda: api.poll() is not None or _answers(url), 20, "an answer of the API")
        client = running.enter_context(Client(url, key))
        _until(
            lambda: any(row["state"] == "alive" for row in client.workers()), 20, "a live worker"
        )
        job = client.submit(JOB)
        last = [event.type for event in client.events(job["id"])][-1]
        assert last == "succeeded", client.job(job["id"])["error"]
        pulled = client.download(job["id"], tmp_path / "net.safetensors", kind="tuned")
        stranger = running.enter_context(Client(url, f"slbi_{secrets.token_urlsafe(32)}"))
        with pytest.raises(Problem) as refused:
            stranger.job(job["id"])
    assert refused.value.status == httpx.codes.UNAUTHORIZED
    assert describe(pulled)["backbone"] == "vgg11"


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").is_success
    except httpx.TransportError:
        return False
