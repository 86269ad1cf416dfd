"""Exports: what they start from, and the files that they left. Nothing here commits."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from service.contract import JobState
from service.store.tables import Artifact, Job, Model

_OF_USE = (JobState.VALIDATING, JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED)
"""States of an export that has brought its files, or will without anybody's help."""


def exports_like(session: Session, job: Job) -> Sequence[Job]:
    """Return the exports of the network that an export starts from, the newest first.

    Args:
        session: in any transaction.
        job: the export, which need not be stored.
    """
    source = (
        (Job.source_upload == job.source_upload,)
        if job.source_job is None
        else _of_model(job.source_job, job.spec["source"]["model"])
    )
    mine = (Job.kind == "export", Job.owner == job.owner, Job.state.in_(_OF_USE))
    return session.scalars(select(Job).where(*mine, *source).order_by(Job.id.desc())).all()


def exported(
    session: Session, owner: uuid.UUID, model: Model, title: str, now: datetime
) -> Sequence[Artifact]:
    """Return the files of a title that exports of a model left and that have not expired.

    The latest comes first.
    """
    exports = (Job.kind == "export", Job.state == JobState.SUCCEEDED, Job.owner == owner)
    return session.scalars(
        select(Artifact)
        .join(Job, Job.id == Artifact.job_id)
        .where(*exports, *_of_model(model.job_id, str(model.id)))
        .where(Artifact.title == title, _kept(now))
        .order_by(Artifact.published_at.desc(), Artifact.id.desc())
    ).all()


def files_of_export(
    session: Session, job_id: uuid.UUID, titles: Sequence[str], now: datetime
) -> Sequence[Artifact]:
    """Return those files of an export that bear one of the titles and have not expired."""
    its_own = (Artifact.job_id == job_id, Artifact.title.in_(titles))
    return session.scalars(select(Artifact).where(*its_own, _kept(now))).all()


def _of_model(job_id: uuid.UUID, model_id: str) -> tuple[ColumnElement[bool], ...]:
    named = Job.spec["source"]["model"].as_string() == model_id
    return (Job.source_job == job_id, named)


def _kept(now: datetime) -> ColumnElement[bool]:
    return or_(Artifact.expires_at.is_(None), Artifact.expires_at > now)
