"""Follow jobs: find one, list them, cancel one, read its events."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from service.contract import FINAL_STATES, JobState
from service.errors import ConflictError, NotFoundError
from service.store.database import Database
from service.store.history import events_after
from service.store.jobs import (
    find_job,
    latest_attempts,
    lock_job,
    page_of_jobs,
    request_cancel,
)
from service.store.tables import Attempt, Job, JobEvent


@dataclass(frozen=True, kw_only=True, slots=True)
class FollowedJob:
    """A job and its latest attempt, if there was one."""

    job: Job
    attempt: Attempt | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Some jobs, newest first, and behind which one the next page begins."""

    jobs: Sequence[FollowedJob]
    last: uuid.UUID | None
    """None if there are no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """Some events, oldest first."""

    events: Sequence[JobEvent]
    ended: bool
    """The job is final and nothing comes behind these events."""


def find(database: Database, owner: uuid.UUID, job_id: uuid.UUID) -> FollowedJob:
    """Return a job.

    Raises:
        NotFoundError: this owner has none of this id.
    """
    with database.reading() as session:
        job = find_job(session, owner, job_id)
        if job is None:
            raise missing(job_id)
        attempts: Mapping[uuid.UUID, Attempt] = latest_attempts(session, [job])
        session.expunge_all()
    return FollowedJob(job=job, attempt=attempts.get(job.id))


def page(
    database: Database,
    owner: uuid.UUID,
    *,
    states: Sequence[JobState],
    label: str | None,
    before: uuid.UUID | None,
    limit: int,
) -> Page:
    """Return the newest jobs that are older than `before`."""
    with database.reading() as session:
        found = page_of_jobs(
            session, owner, states=states, label=label, before=before, limit=limit + 1
        )
        jobs = found[:limit]
        attempts = latest_attempts(session, jobs)
        session.expunge_all()
    return Page(
        jobs=[FollowedJob(job=job, attempt=attempts.get(job.id)) for job in jobs],
        last=jobs[-1].id if len(found) > limit else None,
    )


def cancel(database: Database, owner: uuid.UUID, job_id: uuid.UUID) -> FollowedJob:
    """Cancel a job that waits; ask the worker of a running one to end it. Twice does no harm.

    Raises:
        NotFoundError: this owner has none of this id.
        ConflictError: it has ended.
    """
    with database.writing() as session:
        job = lock_job(session, owner, job_id)
        if job is None:
            raise missing(job_id)
        if job.state in FINAL_STATES:
            possible = ", ".join(state for state in JobState if state not in FINAL_STATES)
            raise ConflictError(f"A job must be {possible} to be cancelled, got {job.state}.")
        if not job.cancel_requested:
            request_cancel(session, job, datetime.now(UTC))
    return find(database, owner, job_id)


def history(
    database: Database, owner: uuid.UUID, job_id: uuid.UUID, *, after: int, limit: int
) -> History:
    """Return the events behind the one of id `after`.

    Raises:
        NotFoundError: this owner has no job of this id.
    """
    with database.reading() as session:
        job = find_job(session, owner, job_id)  # first: its last event is committed with its state
        if job is None:
            raise missing(job_id)
        events = events_after(session, job_id, after=after, limit=limit)
        session.expunge_all()
    return History(events=events, ended=job.state in FINAL_STATES and len(events) < limit)


def missing(job_id: uuid.UUID) -> NotFoundError:
    """Return what is said of a job that is not there, or not this owner's."""
    return NotFoundError(f"No job has id {job_id}.")
