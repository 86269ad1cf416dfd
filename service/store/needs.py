"""What jobs that have not ended start from: it is kept until they have. Nothing here commits."""

import uuid
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from sqlalchemy import ColumnElement, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from service.contract import FINAL_STATES
from service.store.tables import Artifact, Job, Model, Upload


def job_is_needed() -> ColumnElement[bool]:
    """Return the condition on a row of `jobs` that another job starts from it."""
    other = aliased(Job)
    return exists().where(other.source_job == Job.id, other.state.not_in(FINAL_STATES))


def upload_is_needed() -> ColumnElement[bool]:
    """Return the condition on a row of `uploads` that a job starts from it."""
    return exists().where(Job.source_upload == Upload.id, Job.state.not_in(FINAL_STATES))


def upload_is_kept(now: datetime) -> ColumnElement[bool]:
    """Return the condition on a row of `uploads` that its time is not over, or must not be."""
    return or_(Upload.expires_at > now, upload_is_needed())


def needed_jobs(session: Session, jobs: Iterable[uuid.UUID]) -> AbstractSet[uuid.UUID]:
    """Return those of some jobs that a job which has not ended starts from."""
    found = select(Job.source_job).where(
        Job.source_job.in_(list(jobs)), Job.state.not_in(FINAL_STATES)
    )
    return {job_id for job_id in session.scalars(found) if job_id is not None}


def users_of_upload(session: Session, upload_id: uuid.UUID) -> Sequence[uuid.UUID]:
    """Return the jobs that have not ended and start from an upload."""
    users = select(Job.id).where(Job.source_upload == upload_id, Job.state.not_in(FINAL_STATES))
    return session.scalars(users.order_by(Job.id)).all()


def lock_source(session: Session, job: Job) -> None:
    """Lock what a job starts from until the transaction ends, so that others like it take turns.

    Nothing that refers to it waits meanwhile. Locking it again, to keep it, is then no wait either.
    """
    for table, key in ((Job, job.source_job), (Upload, job.source_upload)):
        if key is not None:
            session.execute(select(table.id).where(table.id == key).with_for_update(key_share=True))


def keep_source(session: Session, job: Job, now: datetime) -> bool:
    """Keep what a job starts from until the job has ended, which the caller writes with this.

    What is kept is locked until then: nobody removes it between this look and the job's row.

    Args:
        session: in a writing transaction.
        job: that begins to wait.
        now: the time.

    Returns:
        False if it is not kept any more; True also of a job that starts from nothing.
    """
    if job.source_upload is not None:
        mine = (Upload.id == job.source_upload, Upload.owner == job.owner, upload_is_kept(now))
        kept = select(Upload.id).where(*mine).with_for_update(read=True)
        return session.scalar(kept) is not None
    if job.source_job is None:
        return True
    session.execute(select(Job.id).where(Job.id == job.source_job).with_for_update(read=True))
    theirs = update(Artifact).where(Artifact.job_id == job.source_job, Artifact.expires_at > now)
    session.execute(theirs.values(expires_at=None).execution_options(synchronize_session=False))
    endless = (
        select(Artifact.id)
        .join(Model, Model.artifact_id == Artifact.id)
        .where(
            Model.id == uuid.UUID(job.spec["source"]["model"]),
            Artifact.owner == job.owner,
            Artifact.expires_at.is_(None),
        )
    )
    return session.scalar(endless) is not None
