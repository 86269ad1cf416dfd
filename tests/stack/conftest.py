"""The production arrangement as processes: an API, a worker, PostgreSQL and Redis between them."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import redis

from service.store.database import Database
from tests.yard import Yard, wait_for

REDIS = os.environ.get("SLBI_TEST_REDIS", "redis://127.0.0.1:6379")
"""A Redis server; of its numbered databases each test process uses one."""


@pytest.fixture
def broker_url() -> Iterator[str]:
    url = f"{REDIS}/{1 + os.getpid() % 15}"
    client = redis.Redis.from_url(url)
    try:
        client.flushdb()
    except redis.ConnectionError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"Redis must answer at SLBI_TEST_REDIS: {error}")
        pytest.skip(f"no Redis: {error}")
    yield url
    client.flushdb()
    client.close()


class Stack(Yard):
    """A yard whose jobs are asked for over HTTP and done by processes of their own."""

    def __init__(self, database: Database, home: Path, broker_url: str) -> None:
        super().__init__(database, home)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.settings = self.settings.model_copy(
            update={"broker_url": broker_url, "port": port, "poll_seconds": 3600.0}
        )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)

    @contextmanager
    def api(self) -> Iterator[subprocess.Popen[bytes]]:
        """Serve while the context lasts."""
        factory = ["service.main:app_from_environment", "--factory", "--no-access-log", "--port"]
        arguments = ["uvicorn", *factory, str(self.settings.port)]
        with self._process(arguments) as process:
            wait_for(self._answers)
            yield process

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """Work while the context lasts."""
        before = len(self.workers())
        with self._process(["worker.jobs.command"]) as process:
            wait_for(lambda: len(self.workers()) > before)
            yield process

    @contextmanager
    def _process(self, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**os.environ, **self.settings.environment()},
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            finally:
                process.kill()

    def _answers(self) -> bool:
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def stack(postgresql: Database, broker_url: str, tmp_path: Path) -> Iterator[Stack]:
    """The address of an API that is up, and a way to start workers."""
    stack = Stack(postgresql, tmp_path, broker_url)
    with ExitStack() as up:
        up.enter_context(stack.client)
        up.enter_context(stack.api())
        yield stack
