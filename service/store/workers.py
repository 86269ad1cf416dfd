"""Which workers have been heard of, read back. Nothing here commits."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from service.store.tables import Attempt, Job, Worker


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenWorker:
    """A worker, and its job if it is the asker's."""

    worker: Worker
    own_job: Job | None
    attempt: int | None
    """Which try at that job is the worker's; None if the job has been taken from it."""


def workers_since(session: Session, owner: uuid.UUID, since: datetime) -> Sequence[SeenWorker]:
    """Return the workers heard of since then, the latest first."""
    its_own = and_(
        Attempt.job_id == Job.id,
        Attempt.fence == Job.fence,
        Attempt.worker_id == Worker.id,
        Attempt.ended_at.is_(None),
    )
    rows = session.execute(
        select(Worker, Job, Attempt.fence)
        .outerjoin(Job, and_(Job.id == Worker.job_id, Job.owner == owner))
        .outerjoin(Attempt, its_own)
        .where(Worker.heartbeat_at >= since)
        .order_by(Worker.heartbeat_at.desc(), Worker.id.desc())
    )
    return [
        SeenWorker(worker=worker, own_job=job, attempt=job.attempts if job and fence else None)
        for worker, job, fence in rows
    ]


def alive(worker: Worker, now: datetime, lease: timedelta) -> bool:
    """Return whether a worker runs and was heard of within a lease."""
    return worker.stopped_at is None and worker.heartbeat_at >= now - lease


def count_alive(session: Session, now: datetime, lease: timedelta) -> int:
    """Return how many workers run and were heard of within a lease."""
    return session.scalars(
        select(func.count())
        .select_from(Worker)
        .where(Worker.stopped_at.is_(None), Worker.heartbeat_at >= now - lease)
    ).one()


def last_heartbeat(session: Session) -> datetime | None:
    """Return when any worker was last heard of."""
    return session.scalars(
        select(Worker.heartbeat_at).order_by(Worker.heartbeat_at.desc()).limit(1)
    ).one_or_none()
