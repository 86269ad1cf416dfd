"""The family of a job: its models, their files and those beside them. Nothing here commits."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.tables import Artifact, Model


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


def find_artifact(session: Session, owner: uuid.UUID, artifact_id: uuid.UUID) -> Artifact | None:
    """Return a file of this owner."""
    return session.scalars(
        select(Artifact).where(Artifact.id == artifact_id, Artifact.owner == owner)
    ).one_or_none()
