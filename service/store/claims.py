"""Who works on a job: claims, leases, fences, and how an attempt ends.

A claim bumps the job's fence. Whatever is written for that attempt asks first, in the same
transaction, whether the job is still held under that fence (`held`); a refused write ends the
attempt. Nothing here commits.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, select, update
from sqlalchemy.orm import Session

from service import failpoints
from service.contract import FINAL_STATES, HELD_STATES, AttemptOutcome, EventType, JobState
from service.errors import FenceLostError
from service.store.history import append
from service.store.tables import Attempt, Job

_ITS_OWN = {
    AttemptOutcome.SUCCEEDED: JobState.SUCCEEDED,
    AttemptOutcome.FAILED: JobState.FAILED,
    AttemptOutcome.CANCELLED: JobState.CANCELLED,
}
"""Outcomes that are the job's own, and what they make of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A job that is somebody's until the lease ends."""

    job_id: uuid.UUID
    owner: uuid.UUID
    fence: int
    spec: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Orders:
    """What a worker learns when it renews a lease."""

    cancel: bool
    """The job is to be given up."""
    pause: bool
    """The job is to be put aside."""
    over_limit: bool
    """The job's attempts together have taken longer than its spec allows."""


def claim(
    session: Session,
    *,
    worker_id: uuid.UUID,
    host: str,
    device: str | None,
    pid: int,
    now: datetime,
    lease: timedelta,
) -> Claim | None:
    """Take the best queued job: the highest priority, then the longest in the queue.

    Returns:
        None if no job is queued, or if others are claiming all that are.
    """
    best = (
        select(Job.id)
        .where(Job.state == JobState.QUEUED)
        .order_by(Job.priority.desc(), Job.queued_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    job_id = session.scalar(best)
    if job_id is None:
        return None
    with failpoints.around("claim.job"):
        taken = session.execute(
            update(Job)
            .where(Job.id == job_id, Job.state == JobState.QUEUED)
            .values(
                state=JobState.RUNNING,
                fence=Job.fence + 1,
                lease_until=now + lease,
                attempts=Job.attempts + 1,
                started_at=func.coalesce(Job.started_at, now),
            )
            .returning(Job.owner, Job.fence, Job.spec)
        ).one_or_none()
    if taken is None:
        return None
    attempt = Attempt(
        job_id=job_id,
        fence=taken.fence,
        worker_id=worker_id,
        host=host,
        device=device,
        pid=pid,
        started_at=now,
    )
    with failpoints.around("claim.attempt"):
        session.add(attempt)
        session.flush()
    data = {"worker": str(worker_id), "host": host, "device": device}
    told: dict[str, Any] = {"job_id": job_id, "fence": taken.fence, "kind": EventType.CLAIMED}
    with failpoints.around("claim.event"):
        append(session, **told, data=data, now=now)
    return Claim(job_id=job_id, owner=taken.owner, fence=taken.fence, spec=taken.spec)


def held(session: Session, *, job_id: uuid.UUID, fence: int) -> Job:
    """Return a job, locked until the transaction ends, that is held under this fence.

    Raises:
        FenceLostError: it is not: another attempt holds it, or none.
    """
    job = session.scalar(
        select(Job)
        .where(Job.id == job_id, Job.fence == fence, Job.state.in_(HELD_STATES))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if job is None:
        raise FenceLostError(f"job {job_id} must be held under fence {fence}, it is not any more")
    return job


def renew(
    session: Session, *, job_id: uuid.UUID, fence: int, now: datetime, lease: timedelta
) -> Orders:
    """Lengthen the lease to `now + lease` and learn what is wanted.

    Raises:
        FenceLostError: the job is not held under this fence any more.
    """
    job = held(session, job_id=job_id, fence=fence)
    job.lease_until = now + lease
    limit_s = limit_seconds(job.spec)
    over = limit_s is not None and _worked(session, job, now) > timedelta(seconds=limit_s)
    return Orders(cancel=job.cancel_requested, pause=job.pause_requested, over_limit=over)


def finish(
    session: Session,
    *,
    job_id: uuid.UUID,
    fence: int,
    outcome: AttemptOutcome,
    reason: str | None,
    now: datetime,
    max_attempts: int,
    space_needed: int | None = None,
) -> JobState:
    """End the attempt that holds a job, and return the state in which that leaves the job.

    A lost or preempted attempt, or one that ran out of memory, puts the job back in its old place
    in the queue, unless its cancellation or a pause was asked for. After `max_attempts` lost
    attempts, or so many that ran out of memory, the job has failed. Preempted attempts are not
    counted, nor those before the last one that got further than all before it, or before a retry.
    Want of room pauses the job until `space_needed` bytes are free. `reason` is a sentence for
    people; only a success needs none.

    Raises:
        FenceLostError: the job is not held under this fence any more.
    """
    job = held(session, job_id=job_id, fence=fence)
    # One that somebody wanted paused anyway waits for that somebody.
    job.space_needed = None if job.pause_requested else space_needed
    return _end(session, job, outcome, reason, now=now, max_attempts=max_attempts)


def expire(session: Session, *, now: datetime, max_attempts: int) -> list[uuid.UUID]:
    """End every attempt whose lease has run out as lost; return the jobs concerned.

    Jobs that others lock at this moment are left for the next time.
    """
    overdue = session.scalars(
        select(Job)
        .where(Job.state.in_(HELD_STATES), Job.lease_until < now)
        .with_for_update(skip_locked=True)
    ).all()
    for job in overdue:
        reason = "The worker was not heard of until its lease ran out."
        _end(session, job, AttemptOutcome.LOST, reason, now=now, max_attempts=max_attempts)
    return [job.id for job in overdue]


def release(
    session: Session, *, worker_id: uuid.UUID, now: datetime, max_attempts: int
) -> list[uuid.UUID]:
    """End every attempt of a worker as lost, and return the jobs concerned.

    For a worker that has just started under the name of a process that is gone: nobody else can
    tell its leases from those of a living one before they run out.
    """
    orphans = session.scalars(
        select(Job)
        .join(Attempt, and_(Attempt.job_id == Job.id, Attempt.fence == Job.fence))
        .where(Job.state.in_(HELD_STATES), Attempt.worker_id == worker_id)
        .order_by(Job.id)
        .with_for_update(of=Job)
    ).all()
    for job in orphans:
        reason = "The server was stopped while the job ran."
        _end(session, job, AttemptOutcome.LOST, reason, now=now, max_attempts=max_attempts)
    return [job.id for job in orphans]


def recorded(session: Session, *, job_id: uuid.UUID, fence: int) -> bool:
    """Tell whether an attempt has come to a result of its own, which nobody can take from it."""
    outcome = session.get_one(Attempt, (job_id, fence)).outcome
    return outcome in {AttemptOutcome.SUCCEEDED, AttemptOutcome.FAILED}


def limit_seconds(spec: Mapping[str, Any]) -> float | None:
    """Return the wall-clock limit of a job, over all its attempts, or None."""
    limit: float | None = spec.get("compute", {}).get("limit_seconds")
    return limit


def _end(
    session: Session,
    job: Job,
    outcome: AttemptOutcome,
    reason: str | None,
    *,
    now: datetime,
    max_attempts: int,
) -> JobState:
    attempt = session.get_one(Attempt, (job.id, job.fence))
    told: dict[str, Any] = {"job_id": job.id, "fence": job.fence, "now": now}
    with failpoints.around("finish.attempt"):
        attempt.outcome = outcome
        attempt.reason = reason
        attempt.ended_at = now
        session.flush()
    with failpoints.around("finish.ended"):
        data = {"outcome": outcome, "reason": reason}
        append(session, **told, kind=EventType.ATTEMPT_ENDED, data=data)
    state, error = _verdict(session, job, outcome, reason, max_attempts)
    with failpoints.around("finish.job"):
        job.state = state
        job.lease_until = None
        if state in FINAL_STATES:
            job.ended_at = now
        if state is not JobState.QUEUED:
            job.error = error
            job.pause_requested = False
        session.flush()
    with failpoints.around("finish.event"):
        kind = EventType.REQUEUED if state is JobState.QUEUED else EventType(state)
        said = {} if error is None else {"reason": error}
        append(session, **told, kind=kind, data=said)
    return state


def _verdict(
    session: Session,
    job: Job,
    outcome: AttemptOutcome,
    reason: str | None,
    max_attempts: int,
) -> tuple[JobState, str | None]:
    """Return what an outcome means for the job, and the sentence that a client reads."""
    said = None if outcome in {AttemptOutcome.SUCCEEDED, AttemptOutcome.CANCELLED} else reason
    if (state := _ITS_OWN.get(outcome)) is not None:
        return state, said
    if job.cancel_requested:
        return JobState.CANCELLED, None
    if outcome is AttemptOutcome.NO_SPACE:
        return JobState.PAUSED, None if job.pause_requested else said
    times = _count(session, job, outcome)
    if outcome is AttemptOutcome.PREEMPTED or times < max_attempts:
        return (JobState.PAUSED, None) if job.pause_requested else (JobState.QUEUED, said)
    what = "ran out of memory" if outcome is AttemptOutcome.OOM else "was lost"
    many = "once" if times == 1 else f"{times} times"
    return JobState.FAILED, f"Given up: the job {what} {many}. The last time: {reason}"


def _count(session: Session, job: Job, outcome: AttemptOutcome) -> int:
    """Return how often this outcome has come about since the job got on or was retried."""
    same = select(func.count()).where(
        Attempt.job_id == job.id, Attempt.outcome == outcome, Attempt.fence >= job.caps_from
    )
    return session.execute(same).scalar_one()


def _worked(session: Session, job: Job, now: datetime) -> timedelta:
    """Return how long all attempts at a job have taken together since it was retried."""
    spans = session.execute(
        select(Attempt.started_at, Attempt.ended_at).where(
            Attempt.job_id == job.id, Attempt.fence >= job.limit_from
        )
    )
    return sum(((end or now) - begin for begin, end in spans), timedelta())
