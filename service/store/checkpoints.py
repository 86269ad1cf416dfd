"""From where another attempt at a job can go on, and taking back what lies beyond.

Nothing here commits.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from service import failpoints
from service.contract import EventType
from service.store.claims import held
from service.store.history import append
from service.store.tables import (
    Artifact,
    Attempt,
    Base,
    Checkpoint,
    Model,
    PathGrowth,
    PathLayer,
    PathStep,
    PathSupport,
)

KEPT = 2
"""Checkpoints kept of a job: where the last one is damaged, the one before still serves."""


def keep(session: Session, *, job_id: uuid.UUID, fence: int, row: Checkpoint) -> Sequence[str]:
    """Keep a checkpoint whose file is whole, and forget all but the last `KEPT`.

    One that lies beyond all before shows that the job gets on: attempts before this one count
    against the caps no more.

    Returns:
        Storage keys of those forgotten; their files are to be removed after the commit.

    Raises:
        FenceLostError: the job is not held under this fence any more; nothing was written.
    """
    job = held(session, job_id=job_id, fence=fence)
    if session.get(Checkpoint, row.id) is None:  # else its commit's answer was lost
        row.progress = job.progress
        with failpoints.around("checkpoint.row"):
            session.add(row)
            session.flush()
    with failpoints.around("checkpoint.caps"):
        if row.step > job.furthest_step:
            job.furthest_step = row.step
            job.caps_from = fence
            session.flush()
    old = newest(session, job_id)[KEPT:]
    with failpoints.around("checkpoint.old"):
        for each in old:
            session.delete(each)
        session.flush()
    return [each.storage_key for each in old]


def newest(session: Session, job_id: uuid.UUID) -> Sequence[Checkpoint]:
    """Return the checkpoints of a job, newest first."""
    return session.scalars(
        select(Checkpoint)
        .where(Checkpoint.job_id == job_id)
        .order_by(Checkpoint.fence.desc(), Checkpoint.id.desc())
    ).all()


def rewind(
    session: Session,
    *,
    job_id: uuid.UUID,
    fence: int,
    to: uuid.UUID | None,
    damaged: Sequence[int],
    now: datetime,
) -> None:
    """Delete whatever a job recorded beyond a checkpoint, and say that the attempt goes on there.

    Args:
        session: in a writing transaction.
        job_id: the job.
        fence: of the attempt.
        to: the checkpoint; None deletes everything, as the job begins anew.
        damaged: steps of newer checkpoints that could not be read; they are forgotten.
        now: when.

    Raises:
        FenceLostError: the job is not held under this fence any more; nothing was written.
    """
    job = held(session, job_id=job_id, fence=fence)
    at = None if to is None else session.get_one(Checkpoint, to)
    for table, beyond in _beyond(at):
        session.execute(delete(table).where(table.job_id == job_id, *beyond))
    best = select(func.max(Model.validation_accuracy)).where(Model.job_id == job_id)
    job.best_accuracy = session.scalar(best)
    job.progress = None if at is None else at.progress
    if at is None:
        job.findings = None
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == job_id, Attempt.fence == fence)
        .values(resumed_from=None if at is None else at.step)
    )
    for row in newest(session, job_id):
        if at is not None and row.id == at.id:
            break
        session.delete(row)
    if at is not None or damaged:
        step, epoch = (0, 0) if at is None else (at.step, at.epoch)
        data = {"step": step, "epoch": epoch, "damaged": list(damaged)}
        append(session, job_id=job_id, fence=fence, kind=EventType.RESTORED, data=data, now=now)


def _beyond(at: Checkpoint | None) -> Sequence[tuple[Any, Sequence[ColumnElement[bool]]]]:
    """Return what was recorded beyond a checkpoint: tables, and which of the job's rows."""
    if at is None:
        tables: tuple[type[Base], ...] = (
            PathGrowth, PathSupport, PathStep, PathLayer, Model, Artifact,
        )  # fmt: skip
        return [(table, ()) for table in tables]
    later = select(Model.artifact_id).where(Model.job_id == at.job_id)
    return [
        (PathGrowth, (PathGrowth.round >= at.round,)),
        (PathSupport, (PathSupport.step > at.recorded_step,)),
        (PathStep, (PathStep.step > at.recorded_step,)),
        (Model, (Model.position >= at.models,)),
        (Artifact, (Artifact.kind == "checkpoint", Artifact.id.not_in(later))),
        (Artifact, (Artifact.title.is_not(None), Artifact.step > at.recorded_step)),
    ]
