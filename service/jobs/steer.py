"""Steer jobs: cancel, pause, resume, retry. The job's row is locked: calls at once take turns."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from service.contract import FINAL_STATES, RETRYABLE_STATES, JobState
from service.errors import ConflictError
from service.jobs.follow import FollowedJob, missing
from service.queue import Queue
from service.store import jobs as stored
from service.store.database import Database
from service.store.needs import keep_source

CANCELLABLE_STATES = frozenset(JobState) - FINAL_STATES
"""States in which a job can be cancelled."""

RESUMABLE_STATES = frozenset({JobState.PAUSING, JobState.PAUSED})
"""States in which a job can be resumed."""

PAUSABLE_STATES = frozenset({JobState.QUEUED, JobState.RUNNING}) | RESUMABLE_STATES
"""States in which a job can be paused."""


def cancel(database: Database, owner: uuid.UUID, job_id: uuid.UUID) -> FollowedJob:
    """Cancel a job that waits; ask the worker of a running one to end it. Twice does no harm.

    Raises:
        NotFoundError: this owner has none of this id.
        ConflictError: it has ended.
    """
    with _steering(database, owner, job_id, CANCELLABLE_STATES, "cancelled") as (session, found):
        if not found.job.cancel_requested:
            stored.request_cancel(session, found.job, datetime.now(UTC))
    return found


def pause(database: Database, owner: uuid.UUID, job_id: uuid.UUID) -> FollowedJob:
    """Put a job that waits aside; ask the worker of a running one to do so. Twice does no harm.

    Raises:
        NotFoundError: this owner has none of this id.
        ConflictError: it has ended, or is being cancelled.
    """
    with _steering(database, owner, job_id, PAUSABLE_STATES, "paused") as (session, found):
        if found.job.state not in RESUMABLE_STATES:
            stored.request_pause(session, found.job, datetime.now(UTC))
        found.job.space_needed = None  # what somebody paused does not go on when there is room
    return found


def resume(database: Database, queue: Queue, owner: uuid.UUID, job_id: uuid.UUID) -> FollowedJob:
    """Put a paused job back in its place in the queue; one that is about to pause goes on.

    Raises:
        NotFoundError: this owner has none of this id.
        ConflictError: it is neither.
    """
    with _steering(database, owner, job_id, RESUMABLE_STATES, "resumed") as (session, found):
        stored.resume(session, found.job, datetime.now(UTC))
    if found.job.state == JobState.QUEUED:
        queue.wake()
    return found


def retry(database: Database, queue: Queue, owner: uuid.UUID, job_id: uuid.UUID) -> FollowedJob:
    """Put a job that failed or was cancelled at the end of the queue.

    Raises:
        NotFoundError: this owner has none of this id.
        ConflictError: it is neither, or what it starts from is not kept any more.
    """
    with _steering(database, owner, job_id, RETRYABLE_STATES, "retried") as (session, found):
        now = datetime.now(UTC)
        if not keep_source(session, found.job, now):
            raise ConflictError(f"What job {job_id} starts from must be kept, it is not any more.")
        stored.retry(session, found.job, now)
    queue.wake()
    return found


@contextmanager
def _steering(
    database: Database,
    owner: uuid.UUID,
    job_id: uuid.UUID,
    possible: frozenset[JobState],
    what: str,
) -> Iterator[tuple[Session, FollowedJob]]:
    """Give a locked job that is in one of the `possible` states, in a transaction that writes."""
    with database.writing() as session:
        job = stored.lock_job(session, owner, job_id)
        if job is None:
            raise missing(job_id)
        if job.state not in possible:
            states = ", ".join(state for state in JobState if state in possible)
            raise ConflictError(f"A job must be {states} to be {what}, got {job.state}.")
        attempts = stored.latest_attempts(session, [job])
        yield session, FollowedJob(job=job, attempt=attempts.get(job.id))
