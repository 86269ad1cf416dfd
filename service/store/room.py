"""Jobs that were paused because the disk was full. Nothing here commits."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.contract import JobState
from service.store.jobs import resume
from service.store.tables import Job


def awaited(session: Session) -> bool:
    """Return whether any job waits for room."""
    waiting = select(Job.id).where(Job.state == JobState.PAUSED, Job.space_needed.is_not(None))
    return session.scalar(waiting.limit(1)) is not None


def let_go_on(session: Session, *, free: int, now: datetime) -> Sequence[uuid.UUID]:
    """Put the jobs for which `free` bytes are enough back into the queue, and return them.

    Jobs that others lock at this moment, to cancel them for one, are left for the next time.
    """
    jobs = session.scalars(
        select(Job)
        .where(Job.state == JobState.PAUSED, Job.space_needed <= free)
        .with_for_update(skip_locked=True)
    ).all()
    for job in jobs:
        resume(session, job, now)
    return [job.id for job in jobs]
