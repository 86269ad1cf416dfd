"""The worker inside the server's process: `slbi serve` finds it by entry point.

It has a lasting identity, a file in the home. The caller holds the home's lock, so no other process
is that worker; what is still held under its name is of a process that is gone.
"""

import os
import uuid
from datetime import UTC, datetime
from pathlib import Path

import structlog

from service import failpoints
from service.settings import Settings
from service.store import claims, presence
from service.store.database import Database
from service.store.ids import new_id
from worker.jobs.worker import Worker

IDENTITY = "worker-id"
"""File in the home that holds the worker's id."""

_log = structlog.get_logger(__name__)


def start(settings: Settings, database: Database) -> Worker:
    """Start a worker and return it; its `stop()` hands the running job back.

    A job that the process before it left running is back in the queue before the worker looks.

    Raises:
        SQLAlchemyError: the database is away.
        OSError: the identity can be neither read nor written.
    """
    failpoints.arm(settings.failpoint_dir)
    worker_id = identity(settings.home)
    release(settings, database, worker_id)
    worker = Worker(settings, database, worker_id=worker_id)
    worker.start()
    return worker


def identity(home: Path) -> uuid.UUID:
    """Return the id in the home; if there is none, or it is damaged, make one and keep it.

    Raises:
        OSError: it can be neither read nor written.
    """
    path = home / IDENTITY
    try:
        return uuid.UUID(path.read_text(encoding="utf-8").strip())
    except (FileNotFoundError, ValueError):
        made = new_id()
    fresh = path.with_name(f"{IDENTITY}.new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(f"{made}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return made


def release(settings: Settings, database: Database, worker_id: uuid.UUID) -> None:
    """End the attempts that the process before left, instead of waiting for their leases.

    Raises:
        SQLAlchemyError: the database is away.
    """
    now = datetime.now(UTC)
    with database.writing() as session:
        jobs = claims.release(
            session, worker_id=worker_id, now=now, max_attempts=settings.max_attempts
        )
        presence.retire(session, worker_id=worker_id, now=now)
    for job_id in jobs:
        _log.warning("orphan_released", job=str(job_id))
