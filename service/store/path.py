"""The structure path of a job, read back. Nothing here commits."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.contract import JobState
from service.store.tables import Job, PathGrowth, PathLayer, PathStep, PathSupport


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPath:
    """What a job's path holds between two steps."""

    layers: Sequence[PathLayer]
    steps: Sequence[PathStep]
    support: Mapping[int, Sequence[PathSupport]]
    """Layer -> its support at every one of `steps`, in their order."""
    growth: Sequence[PathGrowth]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How long one recorded epoch took, and what it worked on."""

    spec: Mapping[str, Any]
    macs: int
    seconds: float


def read_path(
    session: Session,
    job_id: uuid.UUID,
    *,
    layers: Sequence[str],
    first: int | None,
    last: int | None,
) -> StoredPath:
    """Return a job's path; the caller has made sure whose job it is.

    Args:
        layers: names or numbers; none at all means every layer.
        first: the first step wanted.
        last: the last step wanted.
    """
    wanted = [
        row
        for row in session.scalars(
            select(PathLayer).where(PathLayer.job_id == job_id).order_by(PathLayer.layer)
        )
        if not layers or row.name in layers or str(row.layer) in layers
    ]
    numbers = [row.layer for row in wanted]
    steps = session.scalars(
        select(PathStep)
        .where(PathStep.job_id == job_id, *_between(PathStep.step, first, last))
        .order_by(PathStep.step)
    ).all()
    support: dict[int, list[PathSupport]] = {number: [] for number in numbers}
    for row in session.scalars(
        select(PathSupport)
        .where(
            PathSupport.job_id == job_id,
            PathSupport.layer.in_(numbers),
            *_between(PathSupport.step, first, last),
        )
        .order_by(PathSupport.step)
    ):
        support[row.layer].append(row)
    # An attempt that restarts deletes the path, perhaps between these queries: whole points only.
    complete = {step.step for step in steps}.intersection(
        *({row.step for row in rows} for rows in support.values())
    )
    growth = session.scalars(
        select(PathGrowth)
        .where(
            PathGrowth.job_id == job_id,
            PathGrowth.layer.in_(numbers),
            *_between(PathGrowth.step, first, last),
        )
        .order_by(PathGrowth.step, PathGrowth.layer)
    ).all()
    return StoredPath(
        layers=wanted,
        steps=[step for step in steps if step.step in complete],
        support={
            number: [row for row in rows if row.step in complete]
            for number, rows in support.items()
        },
        growth=growth,
    )


def recent_paces(session: Session, owner: uuid.UUID, limit: int) -> Sequence[Pace]:
    """Return the latest epochs of this owner's succeeded jobs, newest job first."""
    rows = session.execute(
        select(Job.spec, PathStep.macs, PathStep.seconds)
        .join(PathStep, PathStep.job_id == Job.id)
        .where(Job.owner == owner, Job.state == JobState.SUCCEEDED, PathStep.seconds > 0)
        .order_by(Job.id.desc(), PathStep.step.desc())
        .limit(limit)
    )
    return [Pace(spec=spec, macs=macs, seconds=seconds) for spec, macs, seconds in rows]


def _between(
    column: InstrumentedAttribute[int], first: int | None, last: int | None
) -> Sequence[ColumnElement[bool]]:
    bounds = []
    if first is not None:
        bounds.append(column >= first)
    if last is not None:
        bounds.append(column <= last)
    return bounds
