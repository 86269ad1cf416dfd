"""A place for jobs: a database, quick settings, small training processes, and what came of them."""

import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.contract import JobState
from service.settings import Settings
from service.store.database import Database
from service.store.ids import new_id
from service.store.jobs import lock_job
from service.store.tables import Attempt, Job, JobEvent, PathStep, Worker
from worker.jobs.supervisor import Supervisor

OWNER = uuid.UUID(int=7)

SHORT_RUN: Mapping[str, object] = {
    "dataset": "digits",
    "backbone": "vgg11",
    "optim": {"batch": 256, "learning_rate": 0.05},
    "growth": {"start": 8, "round_epochs": 1, "max_rounds": 2, "max_width": 16},
    "tune": {"epochs": 1, "pruned_epochs": 1},
    "compute": {"threads": 1},
}
"""The spec of a whole run of a few seconds."""

PRELUDE = """
import os, signal, sys, time
from pathlib import Path
from worker.process import die_with_parent

given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
fence = int(given["--fence"])
die_with_parent(int(given["--parent"]))
home = Path(os.environ["SLBI_HOME"])

def succeed():
    import uuid
    from datetime import UTC, datetime
    from service.contract import AttemptOutcome
    from service.store import claims
    from service.store.database import Database
    with Database(os.environ["SLBI_DATABASE_URL"]).writing() as session:
        claims.finish(session, job_id=uuid.UUID(given["--job"]), fence=fence, reason=None,
                      outcome=AttemptOutcome.SUCCEEDED, now=datetime.now(UTC), max_attempts=3)

def ready():
    (home / "notes").mkdir(exist_ok=True)
    (home / "notes" / f"{given['--job']}.{fence}").write_text(str(os.getpid()))

"""
"""Begins as every training process does; `ready()` notes its process id."""


class Yard:
    """Everything a test of jobs needs.

    Args:
        database: migrated and empty.
        home: where the settings keep files.
    """

    def __init__(self, database: Database, home: Path) -> None:
        self.database = database
        self.settings = Settings(
            home=home,
            database_url=database.engine.url.render_as_string(hide_password=False),
            heartbeat_seconds=0.2,
            lease_seconds=1.5,
            reconcile_seconds=0.3,
            poll_seconds=0.3,
            grace_seconds=2.0,
        )

    def enqueue(self, spec: Mapping[str, object] = SHORT_RUN, *, priority: int = 0) -> uuid.UUID:
        """Put a job into the queue."""
        now = datetime.now(UTC)
        job = Job(
            id=new_id(),
            owner=OWNER,
            kind=str(spec.get("kind", "grow")),
            spec=dict(spec),
            spec_sha256="0" * 64,
            state=JobState.QUEUED,
            priority=priority,
            created_at=now,
            queued_at=now,
        )
        with self.database.writing() as session:
            session.add(job)
        return job.id

    def cancel(self, job_id: uuid.UUID) -> None:
        """Ask for the end of a running job."""
        with self.database.writing() as session:
            session.execute(
                update(Job)
                .where(Job.id == job_id)
                .values(cancel_requested=True, state=JobState.CANCELLING)
            )

    def steer(self, job_id: uuid.UUID, act: Callable[[Session, Job, datetime], None]) -> None:
        """Have something done to a job, as a client can ask for it."""
        with self.database.writing() as session:
            job = lock_job(session, OWNER, job_id)
            assert job is not None
            act(session, job, datetime.now(UTC))

    def job(self, job_id: uuid.UUID) -> Job:
        with self.database.reading() as session:
            job = session.get_one(Job, job_id)
            session.expunge(job)
        return job

    def only_job(self) -> uuid.UUID:
        """Return the only job there is."""
        with self.database.reading() as session:
            return session.scalars(select(Job.id)).one()

    def state(self, job_id: uuid.UUID) -> str:
        return self.job(job_id).state

    def attempts(self, job_id: uuid.UUID) -> list[Attempt]:
        with self.database.reading() as session:
            found = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.fence)
            attempts = list(session.scalars(found))
            session.expunge_all()
        return attempts

    def outcomes(self, job_id: uuid.UUID) -> list[str | None]:
        return [attempt.outcome for attempt in self.attempts(job_id)]

    def events(self, job_id: uuid.UUID) -> list[JobEvent]:
        with self.database.reading() as session:
            found = select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id)
            events = list(session.scalars(found))
            session.expunge_all()
        return events

    def happened(self, job_id: uuid.UUID) -> list[str]:
        return [event.type for event in self.events(job_id)]

    def steps(self, job_id: uuid.UUID) -> list[int]:
        """Return the steps of a job's path."""
        with self.database.reading() as session:
            found = select(PathStep.step).where(PathStep.job_id == job_id).order_by(PathStep.step)
            return list(session.scalars(found))

    def workers(self) -> list[Worker]:
        with self.database.reading() as session:
            workers = list(session.scalars(select(Worker)))
            session.expunge_all()
        return workers

    def command(self, body: str) -> tuple[str, ...]:
        """Return the command of a small training process that does `body`."""
        path = self.settings.home / f"{new_id()}.py"
        path.write_text(PRELUDE + body)
        root = str(Path.cwd())
        start = f"import sys; sys.path.insert(0, {root!r}); exec(open({str(path)!r}).read())"
        return (sys.executable, "-c", start)

    def supervisor(self, body: str) -> Supervisor:
        """Return a supervisor whose attempts do `body`."""
        return Supervisor(
            self.settings,
            self.database,
            worker_id=new_id(),
            device="cpu",
            command=self.command(body),
        )

    def run(self, body: str) -> int:
        """Run all queued jobs, each attempt doing `body`; return how many attempts it took."""
        return self.supervisor(body).run_available(threading.Event())

    def ready(self, job_id: uuid.UUID, fence: int = 1) -> int:
        """Wait for the training process of an attempt to be ready; return its process id."""
        note = self.settings.home / "notes" / f"{job_id}.{fence}"
        wait_for(lambda: note.exists() and note.read_text() != "")
        return int(note.read_text())


@contextmanager
def running(supervisor: Supervisor) -> Iterator[threading.Event]:
    """Let a supervisor work in a thread; at the end it has stopped."""
    stop = threading.Event()
    thread = threading.Thread(target=supervisor.run_available, args=(stop,))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(15)
    assert not thread.is_alive()


def wait_for(holds: Callable[[], bool], within_s: float = 30.0) -> float:
    """Wait until something holds; return the seconds that took."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > within_s:
            pytest.fail(f"did not come to hold within {within_s} s")
        time.sleep(0.02)
    return time.monotonic() - begun


def alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
