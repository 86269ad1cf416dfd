"""The family of a job: its models, their files and those beside them. Nothing here commits."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from service.contract import JobState
from service.store.tables import Artifact, Job, Model


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A model and its file."""

    model: Model
    artifact: Artifact


def family_of(session: Session, owner: uuid.UUID, job_id: uuid.UUID) -> Sequence[Member]:
    """Return the members of a job's family, in the order in which they came about."""
    rows = session.execute(
        select(Model, Artifact)
        .join(Artifact, Artifact.id == Model.artifact_id)
        .where(Model.job_id == job_id, Artifact.owner == owner)
        .order_by(Model.position, Model.id)
    )
    return [Member(model=model, artifact=artifact) for model, artifact in rows]


def artifacts_of(session: Session, owner: uuid.UUID, job_id: uuid.UUID) -> Sequence[Artifact]:
    """Return the published files of a job, in the order in which they came about."""
    return session.scalars(
        select(Artifact)
        .where(Artifact.job_id == job_id, Artifact.owner == owner)
        .order_by(Artifact.published_at, Artifact.id)
    ).all()


def find_export(
    session: Session, owner: uuid.UUID, model: Model, title: str, now: datetime
) -> Artifact | None:
    """Return the latest file of a title that an export of a model left and that is still kept."""
    exports = (Job.kind == "export", Job.state == JobState.SUCCEEDED, Job.owner == owner)
    of_model = Job.spec["source"]["model"].as_string() == str(model.id)
    kept = or_(Artifact.expires_at.is_(None), Artifact.expires_at > now)
    return session.scalars(
        select(Artifact)
        .join(Job, Job.id == Artifact.job_id)
        .where(*exports, Job.source_job == model.job_id, of_model, Artifact.title == title, kept)
        .order_by(Artifact.published_at.desc(), Artifact.id.desc())
        .limit(1)
    ).one_or_none()


def find_artifact(session: Session, owner: uuid.UUID, artifact_id: uuid.UUID) -> Artifact | None:
    """Return a file of this owner."""
    return session.scalars(
        select(Artifact).where(Artifact.id == artifact_id, Artifact.owner == owner)
    ).one_or_none()
