"""What is kept for a time only, and forgetting it. Nothing here commits.

Each function changes a batch at most and returns how many rows that were; 0 means all is done. Rows
that others lock at this moment are left for the next time.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Delete, Update, and_, delete, not_, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.contract import FINAL_STATES, RETRYABLE_STATES, JobState
from service.store.needs import job_is_needed, needed_jobs
from service.store.tables import Artifact, Checkpoint, IdempotencyKey, Job, Worker


def forget_checkpoints(session: Session, *, before: datetime, limit: int) -> int:
    """Delete the checkpoints of jobs that succeeded, or failed or were cancelled `before`.

    Those jobs are locked meanwhile: one that is retried keeps all its checkpoints or none.
    """
    over = or_(
        Job.state == JobState.SUCCEEDED,
        and_(Job.state.in_(RETRYABLE_STATES), Job.ended_at < before),
    )
    jobs = _locked(session, over, Job.id.in_(select(Checkpoint.job_id)), limit=limit)
    return _do(session, delete(Checkpoint).where(Checkpoint.job_id.in_(jobs)), Checkpoint.id)


def begin_expiry(session: Session, *, keep: timedelta, limit: int) -> int:
    """Let the artifacts of ended jobs expire when `keep` has passed since the end.

    Those that have a time already keep theirs. Jobs from which others start are left out.
    """
    endless = Artifact.expires_at.is_(None)
    ended = (Job.state.in_(FINAL_STATES), Job.ended_at.is_not(None))
    having = Job.id.in_(select(Artifact.job_id).where(endless))
    changed = 0
    jobs = _locked(session, *ended, having, not_(job_is_needed()), limit=limit)
    # Asked again behind the lock: a job may have come between the look and the lock.
    needed = needed_jobs(session, jobs)
    for job_id, end in jobs.items():
        if end is not None and job_id not in needed:
            its_own = update(Artifact).where(Artifact.job_id == job_id, endless)
            changed += _do(session, its_own.values(expires_at=end + keep), Artifact.id)
    return changed


def end_expiry(session: Session, *, limit: int) -> int:
    """Let no artifact expire whose job was retried, or from whose job another starts."""
    ending = Artifact.expires_at.is_not(None)
    having = Job.id.in_(select(Artifact.job_id).where(ending))
    wanted = or_(Job.state.not_in(FINAL_STATES), job_is_needed())
    jobs = _locked(session, wanted, having, limit=limit)
    theirs = update(Artifact).where(Artifact.job_id.in_(jobs), ending)
    return _do(session, theirs.values(expires_at=None), Artifact.id)


def forget_workers(session: Session, *, before: datetime, limit: int) -> int:
    """Delete the workers last heard of `before`."""
    return _delete(session, Worker, Worker.heartbeat_at < before, limit)


def forget_idempotency_keys(session: Session, *, before: datetime, limit: int) -> int:
    """Delete the idempotency keys first used `before`."""
    return _delete(session, IdempotencyKey, IdempotencyKey.created_at < before, limit)


def _locked(
    session: Session, *which: ColumnElement[bool], limit: int
) -> Mapping[uuid.UUID, datetime | None]:
    """Lock jobs until the transaction ends, and return job -> its end."""
    jobs = select(Job.id, Job.ended_at).where(*which).limit(limit)
    rows = session.execute(jobs.with_for_update(skip_locked=True))
    return {job_id: end for job_id, end in rows}  # noqa: C416 - rows are no plain pairs


def _delete(
    session: Session,
    table: type[Worker] | type[IdempotencyKey],
    which: ColumnElement[bool],
    limit: int,
) -> int:
    old = select(table.id).where(which).limit(limit).with_for_update(skip_locked=True)
    rows = session.scalars(old).all()
    return _do(session, delete(table).where(table.id.in_(rows)), table.id)


def _do(session: Session, change: Update | Delete, key: InstrumentedAttribute[uuid.UUID]) -> int:
    """Change rows and return how many those were."""
    changed = session.scalars(
        change.returning(key).execution_options(synchronize_session=False)  # nothing is loaded
    )
    return len(changed.all())
