"""The history of a job: events are appended and never changed."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.contract import EventType
from service.store.tables import JobEvent


def append(
    session: Session,
    *,
    job_id: uuid.UUID,
    fence: int,
    kind: EventType,
    data: Mapping[str, Any],
    now: datetime,
) -> None:
    """Append one event; whoever writes for an attempt holds the job's row locked meanwhile."""
    event = JobEvent(job_id=job_id, fence=fence, at=now, type=kind, data=dict(data))
    session.add(event)
    session.flush()


def events_after(
    session: Session, job_id: uuid.UUID, *, after: int, limit: int
) -> Sequence[JobEvent]:
    """Return the events of a job with a larger id than `after`, oldest first, at most `limit`.

    Ids of one job grow in the order of its commits, since its writers hold its row locked: an event
    never appears behind one that was already read.
    """
    return session.scalars(
        select(JobEvent)
        .where(JobEvent.job_id == job_id, JobEvent.id > after)
        .order_by(JobEvent.id)
        .limit(limit)
    ).all()
