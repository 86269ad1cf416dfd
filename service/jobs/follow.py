"""Follow jobs: find one, list them, read its attempts and its events."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.contract import FINAL_STATES, JobState
from service.errors import NotFoundError
from service.store.database import Database
from service.store.history import events_after
from service.store.jobs import attempts_of, find_job, latest_attempts, page_of_jobs
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
        latest: Mapping[uuid.UUID, Attempt] = latest_attempts(session, [job])
        session.expunge_all()
    return FollowedJob(job=job, attempt=latest.get(job.id))


def page(
    database: Database,
    owner: uuid.UUID,
    *,
    states: Sequence[JobState],
    kinds: Sequence[str],
    label: str | None,
    sweep: uuid.UUID | None,
    before: uuid.UUID | None,
    limit: int,
) -> Page:
    """Return the newest jobs that are older than `before`."""
    with database.reading() as session:
        found = page_of_jobs(
            session,
            owner,
            states=states,
            kinds=kinds,
            label=label,
            sweep=sweep,
            before=before,
            limit=limit + 1,
        )
        jobs = found[:limit]
        latest = latest_attempts(session, jobs)
        session.expunge_all()
    return Page(
        jobs=[FollowedJob(job=job, attempt=latest.get(job.id)) for job in jobs],
        last=jobs[-1].id if len(found) > limit else None,
    )


def attempts(database: Database, owner: uuid.UUID, job_id: uuid.UUID) -> Sequence[Attempt]:
    """Return every try at a job, oldest first.

    Raises:
        NotFoundError: this owner has no job of this id.
    """
    with database.reading() as session:
        if find_job(session, owner, job_id) is None:
            raise missing(job_id)
        found = attempts_of(session, job_id)
        session.expunge_all()
    return found


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
    ended = job.state in FINAL_STATES and len(events) < limit
    # A retry between the two reads: the job was final, and what came last shows that it goes on.
    return History(events=events, ended=ended and (not events or events[-1].type in FINAL_STATES))


def missing(job_id: uuid.UUID) -> NotFoundError:
    """Return what is said of a job that is not there, or not this owner's."""
    return NotFoundError(f"No job has id {job_id}.")
