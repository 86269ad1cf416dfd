"""What an attempt reports: its path, its family, its progress, its files and findings.

Every function asks first whether the attempt still holds its job (`claims.held`), and raises
FenceLostError, having written nothing, if it does not. Called a second time after a commit whose
answer was lost, it finds its own rows and writes nothing. Nothing here commits.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service import failpoints
from service.contract import EventType
from service.store.claims import held
from service.store.history import append
from service.store.tables import (
    Artifact,
    Attempt,
    Job,
    Model,
    PathGrowth,
    PathLayer,
    PathStep,
    PathSupport,
)


def begin(session: Session, *, job_id: uuid.UUID, fence: int, pid: int) -> Job:
    """Keep the id of the training process, on the attempt's host, and return the job."""
    job = held(session, job_id=job_id, fence=fence)
    session.execute(
        update(Attempt).where(Attempt.job_id == job_id, Attempt.fence == fence).values(pid=pid)
    )
    return job


def layers(session: Session, *, job_id: uuid.UUID, fence: int, rows: Sequence[PathLayer]) -> None:
    """Keep the layers of the path."""
    held(session, job_id=job_id, fence=fence)
    if session.scalar(select(PathLayer.layer).where(PathLayer.job_id == job_id).limit(1)) is None:
        session.add_all(rows)


def step(
    session: Session,
    *,
    job_id: uuid.UUID,
    fence: int,
    row: PathStep,
    support: Sequence[PathSupport],
) -> None:
    """Keep one point of the path and the support of every layer at it."""
    held(session, job_id=job_id, fence=fence)
    if session.get(PathStep, (job_id, row.step)) is None:
        session.add_all([row, *support])


def growth(
    session: Session,
    *,
    job_id: uuid.UUID,
    fence: int,
    rows: Sequence[PathGrowth],
    names: Mapping[int, str],
    now: datetime,
) -> None:
    """Keep what one round widened, all at one step, and say so.

    `names` has the name of every layer, for those who read the event.
    """
    held(session, job_id=job_id, fence=fence)
    if not rows or session.get(PathGrowth, (job_id, rows[0].step, rows[0].layer)) is not None:
        return
    data = {
        "step": rows[0].step,
        "round": rows[0].round,
        "layers": [
            {
                "layer": names[row.layer],
                "before": row.before,
                "after": row.after,
                "fill": row.fill,
                "reason": row.reason,
            }
            for row in rows
        ],
    }
    session.add_all(rows)
    append(session, job_id=job_id, fence=fence, kind=EventType.GREW, data=data, now=now)


def progress(
    session: Session, *, job_id: uuid.UUID, fence: int, data: Mapping[str, Any], now: datetime
) -> None:
    """Keep where the run stands, and say so."""
    job = held(session, job_id=job_id, fence=fence)
    if job.progress == data:
        return
    job.progress = dict(data)
    append(session, job_id=job_id, fence=fence, kind=EventType.PROGRESS, data=data, now=now)


def publish(
    session: Session,
    *,
    job_id: uuid.UUID,
    fence: int,
    row: Model,
    artifact: Artifact,
    now: datetime,
) -> None:
    """Publish one member of the family with its file, which is whole and will not change.

    `row` refers to `artifact`, whose owner becomes the job's.
    """
    job = held(session, job_id=job_id, fence=fence)
    if session.get(Model, row.id) is not None:
        return
    artifact.owner = job.owner
    with failpoints.around("publish.artifact"):
        session.add(artifact)
        session.flush()
    with failpoints.around("publish.model"):
        session.add(row)
        session.flush()
    job.best_accuracy = max(row.validation_accuracy, job.best_accuracy or 0.0)
    data = {
        "model": str(row.id),
        "artifact": str(artifact.id),
        "kind": row.kind,
        "origin": row.origin,
        "round": row.round,
        "params": row.params,
        "macs": row.macs,
        "validation_accuracy": row.validation_accuracy,
    }
    with failpoints.around("publish.event"):
        append(session, job_id=job_id, fence=fence, kind=EventType.MODEL, data=data, now=now)


def tested(
    session: Session,
    *,
    job_id: uuid.UUID,
    fence: int,
    accuracies: Mapping[int, float],
    now: datetime,
) -> None:
    """Keep the test accuracy (0 to 1) of members, by their position in the family, and say so."""
    held(session, job_id=job_id, fence=fence)
    said = session.scalars(
        select(Model)
        .where(Model.job_id == job_id, Model.position.in_(accuracies))
        .order_by(Model.position)
    ).all()
    if all(model.test_accuracy == accuracies[model.position] for model in said):
        return
    for model in said:
        model.test_accuracy = accuracies[model.position]
    data = {
        "models": [{"model": str(model.id), "test_accuracy": model.test_accuracy} for model in said]
    }
    append(session, job_id=job_id, fence=fence, kind=EventType.TESTED, data=data, now=now)


def file(session: Session, *, job_id: uuid.UUID, fence: int, row: Artifact, now: datetime) -> None:
    """Publish a file of the job beside its models, in place of the one of its title, and say so.

    `row` becomes the job's owner's. Its file is whole and will not change.

    Raises:
        ValueError: the file lies where another one was published that is not the same.
    """
    job = held(session, job_id=job_id, fence=fence)
    same = select(Artifact).where(Artifact.storage_key == row.storage_key)
    there = session.scalars(same).one_or_none()
    if there is not None:
        if (there.title, there.sha256) != (row.title, row.sha256):
            told = f"a file must be published once, {row.storage_key} was as {there.title!r}"
            raise ValueError(f"{told} with SHA-256 {there.sha256}")
        return
    row.owner = job.owner
    with failpoints.around("attach.old"):
        before = (Artifact.job_id == job_id, Artifact.title == row.title)
        session.execute(delete(Artifact).where(*before))
    with failpoints.around("attach.artifact"):
        session.add(row)
        session.flush()
    data = {
        "artifact": str(row.id),
        "title": row.title,
        "kind": row.kind,
        "format": row.format,
        "bytes": row.bytes,
    }
    with failpoints.around("attach.event"):
        append(session, job_id=job_id, fence=fence, kind=EventType.FILE, data=data, now=now)


def findings(
    session: Session, *, job_id: uuid.UUID, fence: int, data: Mapping[str, Any], now: datetime
) -> None:
    """Keep what the job found out so far, in place of what was told before, and say so."""
    job = held(session, job_id=job_id, fence=fence)
    if job.findings == data:
        return
    with failpoints.around("findings.job"):
        job.findings = dict(data)
        session.flush()
    with failpoints.around("findings.event"):
        append(session, job_id=job_id, fence=fence, kind=EventType.FINDINGS, data=data, now=now)
