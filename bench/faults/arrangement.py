"""The service as it is run: everything in one process, or an API and workers with their servers."""

import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx

from bench.faults import databases, process
from bench.faults.private import free_port, private_redis
from bench.faults.process import Process
from bench.faults.waiting import until
from migrations.run import upgrade
from service.settings import Settings
from service.store.database import Database
from service.store.tables import Job

QUICK: Mapping[str, Any] = {
    "heartbeat_seconds": 0.5,
    "lease_seconds": 3.0,
    "reconcile_seconds": 1.0,
    "poll_seconds": 3.0,
    "sweep_seconds": 2.0,
    "checkpoint_steps": 7,
    "max_attempts": 1000,
}
"""Settings that let a fault pass in seconds. A kill may fall before the first checkpoint many times
in a row, so attempts are as good as uncapped; whoever tests the caps sets them."""

START_SECONDS = 60.0
"""How long the service may take to answer after its start, on a busy machine."""

ACCEPT_SECONDS = 60.0
"""How long a submit may be refused with 503 or meet a server that is about to be started."""


class Arrangement(ABC):
    """A service that is up, its database, and the processes that it consists of.

    Args:
        settings: of every process.
        database: migrated; what the checks read.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=30)
        self.resting: set[Process] = set()
        """Processes that are down on purpose: nobody starts them again."""

    @property
    @abstractmethod
    def workers(self) -> Sequence[Process]:
        """The processes that run jobs."""

    @property
    @abstractmethod
    def server(self) -> Process:
        """The process that answers requests."""

    def start(self) -> None:
        """Start every process and wait until the service answers."""
        for each in {self.server, *self.workers} - self.resting:
            each.start()
        until(self.answers, "the service answers", within_s=START_SECONDS)

    def end(self) -> None:
        """End every process."""
        self.client.close()
        for each in (*self.workers, self.server):
            each.end()

    def revive(self) -> None:
        """Start again whatever has died, as a process manager does."""
        for each in {self.server, *self.workers} - self.resting:
            if not each.running:
                each.start()

    def answers(self) -> bool:
        """Return whether the service answers."""
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def submit(self, spec: Mapping[str, object]) -> uuid.UUID:
        """Ask for a job, as a client does that does not give up, and return its id.

        Raises:
            NotInTimeError: nothing took it.
            HTTPStatusError: it was refused for good.
        """
        key = {"Idempotency-Key": uuid.uuid4().hex}

        def accepted() -> str | None:
            try:
                answer = self.client.post("/v1/jobs", json=dict(spec), headers=key)
            except httpx.TransportError:
                return None
            if answer.status_code == 503:
                return None
            answer.raise_for_status()
            return str(answer.json()["id"])

        taken = until(accepted, "a job is accepted", within_s=ACCEPT_SECONDS, meanwhile=self.revive)
        return uuid.UUID(taken)

    def job(self, job_id: uuid.UUID) -> Job:
        """Return a job's row."""
        with self.database.reading() as session:
            job = session.get_one(Job, job_id)
            session.expunge(job)
        return job

    def child(self, job_id: uuid.UUID) -> int | None:
        """Return the id of the process that trains a job under its present fence, if it runs."""
        return self.child_of(job_id, self.job(job_id).fence)

    def child_of(self, job_id: uuid.UUID, fence: int) -> int | None:
        """Return the id of the process of one attempt, if it runs."""
        return process.find("--job", str(job_id), "--fence", str(fence))

    def worker_of(self, job_id: uuid.UUID) -> Process | None:
        """Return the process whose child trains a job, if one does."""
        child = self.child(job_id)
        above = None if child is None else process.parent(child)
        return next((each for each in self.workers if each.running and each.pid == above), None)


class Arrange(Protocol):
    """Makes an arrangement on an empty folder; what `settings` names differs from `QUICK`."""

    def __call__(self, folder: Path, **settings: Any) -> AbstractContextManager[Arrangement]:  # noqa: ANN401 - settings
        """Give it, up, and end it with the context."""


class Embedded(Arrangement):
    """`slbi serve`: API, reconciler and worker in one process, on SQLite."""

    def __init__(self, settings: Settings, database: Database, folder: Path) -> None:
        super().__init__(settings, database)
        command = (sys.executable, "-m", "service.cli.main", "serve")
        self._process = Process(command, settings.environment(), folder / "serve.log")

    @property
    def workers(self) -> Sequence[Process]:
        """The one process."""
        return (self._process,)

    @property
    def server(self) -> Process:
        """The one process."""
        return self._process


class Stack(Arrangement):
    """`slbi api` and workers, each a process, on servers of their own.

    Args:
        settings: of every process.
        database: as it is reached from here.
        folder: for what the processes write to their terminals.
        workers: how many.
        prefix: a command that starts each worker, such as prlimit.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        folder: Path,
        *,
        workers: int,
        prefix: Sequence[str] = (),
    ) -> None:
        super().__init__(settings, database)
        slbi = (sys.executable, "-m", "service.cli.main")
        environment = settings.environment()
        self._api = Process((*slbi, "api"), environment, folder / "api.log")
        self._workers = tuple(
            Process((*prefix, *slbi, "worker"), environment, folder / f"worker-{number}.log")
            for number in range(workers)
        )

    @property
    def workers(self) -> Sequence[Process]:
        """One for each."""
        return self._workers

    @property
    def server(self) -> Process:
        """The API."""
        return self._api


@contextmanager
def embedded(
    folder: Path,
    *,
    database_folder: Path | None = None,
    **settings: Any,  # noqa: ANN401 - settings
) -> Iterator[Arrangement]:
    """Give `slbi serve`, up, on an SQLite file.

    Args:
        folder: for files.
        database_folder: for the SQLite file; None puts it with the others.
        settings: what differs from `QUICK`.
    """
    with ExitStack() as up:
        database = up.enter_context(databases.sqlite(database_folder or folder))
        upgrade(database)
        chosen = _settings(folder, database, **settings)
        arrangement = Embedded(chosen, database, folder)
        up.callback(arrangement.end)
        arrangement.start()
        yield arrangement


@contextmanager
def stack(
    folder: Path,
    *,
    workers: int = 1,
    prefix: Sequence[str] = (),
    database: AbstractContextManager[Database] | None = None,
    broker: str | None = None,
    **settings: Any,  # noqa: ANN401 - settings
) -> Iterator[Arrangement]:
    """Give `slbi api` and workers, up, on a database without tables and a Redis of their own.

    Args:
        folder: for files.
        workers: how many.
        prefix: a command that starts each worker, such as prlimit.
        database: None makes one on the machine's PostgreSQL server.
        broker: address of a Redis that is there; None starts one.
        settings: what differs from `QUICK`.
    """
    with ExitStack() as up:
        if broker is None:
            broker = up.enter_context(private_redis(folder)).url
        opened = up.enter_context(database or databases.postgresql())
        upgrade(opened)
        chosen = _settings(folder, opened, broker_url=broker, **settings)
        arrangement = Stack(chosen, opened, folder, workers=workers, prefix=prefix)
        up.callback(arrangement.end)
        arrangement.start()
        yield arrangement


def _settings(folder: Path, database: Database, **given: Any) -> Settings:  # noqa: ANN401 - settings
    address = database.engine.url.render_as_string(hide_password=False)
    own: dict[str, Any] = {"home": folder, "database_url": address, "port": free_port()}
    return Settings(**{**QUICK, **own, **given})
