"""Which workers are there: each writes its own row. Nothing here commits."""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from service.contract import JobState
from service.store.tables import Job, Worker


def beat(
    session: Session,
    *,
    worker_id: uuid.UUID,
    host: str,
    pid: int,
    device: str,
    job_id: uuid.UUID | None,
    now: datetime,
) -> None:
    """Write that a worker lives and what it works on; the first time, that it is there.

    A worker that had stopped, or was another process until now, has started just now.
    """
    worker = session.get(Worker, worker_id)
    if worker is None:
        worker = Worker(id=worker_id)
        session.add(worker)
    if worker.stopped_at is not None or (worker.host, worker.pid) != (host, pid):
        worker.host, worker.pid, worker.device = host, pid, device
        worker.started_at, worker.stopped_at = now, None
    worker.heartbeat_at = now
    worker.job_id = job_id


def retire(session: Session, *, worker_id: uuid.UUID, now: datetime) -> None:
    """Write that a worker has stopped of its own accord."""
    session.execute(
        update(Worker)
        .where(Worker.id == worker_id)
        .values(heartbeat_at=now, job_id=None, stopped_at=now)
    )


def wanted(session: Session, *, now: datetime, heartbeat: timedelta) -> int:
    """Return how many workers could begin a job at once if they were woken.

    A worker that has been silent for three heartbeats counts as dead.
    """
    queued = select(func.count()).select_from(Job).where(Job.state == JobState.QUEUED)
    idle = (
        select(func.count())
        .select_from(Worker)
        .where(
            Worker.stopped_at.is_(None),
            Worker.job_id.is_(None),
            Worker.heartbeat_at > now - 3 * heartbeat,
        )
    )
    return min(session.execute(queued).scalar_one(), session.execute(idle).scalar_one())
