"""All that the database says of one job, read at once."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from service.store.database import Database
from service.store.tables import (
    Artifact,
    Attempt,
    Checkpoint,
    Job,
    JobEvent,
    Model,
    PathGrowth,
    PathStep,
    PathSupport,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """The rows of one job, each table in the order of its meaning."""

    job: Job
    events: Sequence[JobEvent]
    attempts: Sequence[Attempt]
    steps: Sequence[PathStep]
    support: Sequence[PathSupport]
    growth: Sequence[PathGrowth]
    models: Sequence[Model]
    artifacts: Sequence[Artifact]
    checkpoints: Sequence[Checkpoint]


def read(database: Database, job_id: uuid.UUID) -> History:
    """Return the history of a job."""
    with database.reading() as session:

        def rows(table: Any, *order: Any) -> Sequence[Any]:  # noqa: ANN401 - any table
            return session.scalars(select(table).filter_by(job_id=job_id).order_by(*order)).all()

        history = History(
            job=session.get_one(Job, job_id),
            events=rows(JobEvent, JobEvent.id),
            attempts=rows(Attempt, Attempt.fence),
            steps=rows(PathStep, PathStep.step),
            support=rows(PathSupport, PathSupport.step, PathSupport.layer),
            growth=rows(PathGrowth, PathGrowth.step, PathGrowth.layer),
            models=rows(Model, Model.position),
            artifacts=rows(Artifact, Artifact.id),
            checkpoints=rows(Checkpoint, Checkpoint.id),
        )
        session.expunge_all()
    return history
