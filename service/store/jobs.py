"""Jobs as their owner sees them: insert, find, list, cancel. Nothing here commits."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from service.contract import HELD_STATES, RETRYABLE_STATES, EventType, JobState
from service.store.history import append
from service.store.tables import Attempt, IdempotencyKey, Job, Trial


def insert_job(session: Session, job: Job, replay: IdempotencyKey | None) -> None:
    """Store a job, its first event and, if it may be repeated, its idempotency key.

    Raises:
        IntegrityError: the owner has used the idempotency key before.
    """
    session.add(job)
    session.flush()
    if replay is not None:
        session.add(replay)
        session.flush()
    data = {
        "kind": job.kind,
        "dataset": job.spec["dataset"],
        "backbone": job.spec["backbone"],
        "label": job.label,
    }
    append(
        session,
        job_id=job.id,
        fence=job.fence,
        kind=EventType.SUBMITTED,
        data=data,
        now=job.created_at,
    )


def find_job(session: Session, owner: uuid.UUID, job_id: uuid.UUID) -> Job | None:
    """Return a job of this owner."""
    return session.scalars(select(Job).where(Job.id == job_id, Job.owner == owner)).one_or_none()


def find_replay(session: Session, owner: uuid.UUID, key: str) -> IdempotencyKey | None:
    """Return what an idempotency key of this owner was used for."""
    return session.scalars(
        select(IdempotencyKey).where(IdempotencyKey.owner == owner, IdempotencyKey.key == key)
    ).one_or_none()


def page_of_jobs(
    session: Session,
    owner: uuid.UUID,
    *,
    states: Sequence[JobState],
    kinds: Sequence[str],
    label: str | None,
    sweep: uuid.UUID | None,
    before: uuid.UUID | None,
    limit: int,
) -> Sequence[Job]:
    """Return the newest jobs of this owner, at most `limit`, newest first.

    Args:
        states: only jobs in one of these; none at all means every state.
        kinds: only jobs of one of these; none at all means every kind.
        label: only jobs with exactly this label.
        sweep: only jobs that this sweep made; of one that is not there, there are none.
        before: only jobs older than this one.
    """
    query = select(Job).where(Job.owner == owner)
    if states:
        query = query.where(Job.state.in_(states))
    if kinds:
        query = query.where(Job.kind.in_(kinds))
    if label is not None:
        query = query.where(Job.label == label)
    if sweep is not None:
        query = query.where(Job.id.in_(select(Trial.job_id).where(Trial.sweep_id == sweep)))
    if before is not None:
        query = query.where(Job.id < before)
    return session.scalars(query.order_by(Job.id.desc()).limit(limit)).all()


def latest_attempts(session: Session, jobs: Sequence[Job]) -> Mapping[uuid.UUID, Attempt]:
    """Return job -> its latest attempt, for those that have one."""
    fences = [(job.id, job.fence) for job in jobs if job.fence > 0]
    if not fences:
        return {}
    found = session.scalars(
        select(Attempt).where(tuple_(Attempt.job_id, Attempt.fence).in_(fences))
    )
    return {attempt.job_id: attempt for attempt in found}


def attempts_of(session: Session, job_id: uuid.UUID) -> Sequence[Attempt]:
    """Return every attempt at a job, oldest first."""
    return session.scalars(
        select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.fence)
    ).all()


def lock_job(session: Session, owner: uuid.UUID, job_id: uuid.UUID) -> Job | None:
    """Return a job of this owner, locked until the transaction ends."""
    return session.scalars(
        select(Job).where(Job.id == job_id, Job.owner == owner).with_for_update()
    ).one_or_none()


def request_cancel(session: Session, job: Job, now: datetime, reason: str | None = None) -> None:
    """Cancel a locked job that waits; ask the worker of one that runs to end it, in place.

    Args:
        session: in a transaction that writes.
        job: in no final state.
        now: when.
        reason: told in the event, where it was not somebody who asked.
    """
    job.cancel_requested = True
    job.pause_requested = False
    job.space_needed = None
    job.error = None
    kinds = [EventType.CANCEL_REQUESTED]
    if job.state in HELD_STATES:
        job.state = JobState.CANCELLING
    else:
        job.state = JobState.CANCELLED
        job.ended_at = now
        kinds.append(EventType.CANCELLED)
    for kind in kinds:
        told = {} if reason is None or kind == EventType.CANCELLED else {"reason": reason}
        append(session, job_id=job.id, fence=job.fence, kind=kind, data=told, now=now)


def request_pause(session: Session, job: Job, now: datetime) -> None:
    """Put a locked job that waits aside; ask the worker of one that runs to do so, in place."""
    job.pause_requested = True
    kinds = [EventType.PAUSE_REQUESTED]
    if job.state == JobState.RUNNING:
        job.state = JobState.PAUSING
    else:
        job.pause_requested = False
        job.state = JobState.PAUSED
        kinds.append(EventType.PAUSED)
    for kind in kinds:
        append(session, job_id=job.id, fence=job.fence, kind=kind, data={}, now=now)


def resume(session: Session, job: Job, now: datetime) -> None:
    """Put a locked job that is paused back in its place in the queue, in place.

    One that is about to pause goes on: if its worker has been told already, from the queue.
    """
    job.state = JobState.QUEUED if job.state == JobState.PAUSED else JobState.RUNNING
    job.pause_requested = False
    job.space_needed = None
    job.error = None
    append(session, job_id=job.id, fence=job.fence, kind=EventType.RESUMED, data={}, now=now)


def retry(session: Session, job: Job, now: datetime) -> None:
    """Put a locked job that failed or was cancelled at the end of the queue, in place.

    It goes on from its last checkpoint; caps and wall-clock limit count anew.
    """
    if job.state not in RETRYABLE_STATES:
        raise ValueError(f"a job to retry must be failed or cancelled, got {job.state}")
    job.state = JobState.QUEUED
    job.queued_at = now
    job.cancel_requested = False
    job.error = None
    job.ended_at = None
    job.caps_from = job.limit_from = job.fence + 1
    job.furthest_step = 0
    append(session, job_id=job.id, fence=job.fence, kind=EventType.RETRIED, data={}, now=now)


def count_by_state(session: Session) -> Mapping[str, int]:
    """Return state -> number of jobs, of all owners."""
    counted = session.execute(select(Job.state, func.count()).group_by(Job.state))
    return {state: number for state, number in counted}  # noqa: C416 - rows are no plain pairs


def count_attempts_by_outcome(session: Session) -> Mapping[str, int]:
    """Return outcome -> number of attempts that ended so, of all owners."""
    counted = session.execute(
        select(Attempt.outcome, func.count())
        .where(Attempt.outcome.is_not(None))
        .group_by(Attempt.outcome)
    )
    return {str(outcome): number for outcome, number in counted}
