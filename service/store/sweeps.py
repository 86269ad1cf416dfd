"""Sweeps and their jobs. Nothing here commits."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.contract import FINAL_STATES
from service.store.family import Member
from service.store.tables import Artifact, Job, Model, PathStep, Sweep, Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class TriedJob:
    """A job of a sweep."""

    trial: Trial
    job: Job


def find_sweep(session: Session, owner: uuid.UUID, sweep_id: uuid.UUID) -> Sweep | None:
    """Return a sweep of this owner."""
    mine = (Sweep.id == sweep_id, Sweep.owner == owner)
    return session.scalars(select(Sweep).where(*mine)).one_or_none()


def lock_sweep(session: Session, sweep_id: uuid.UUID) -> Sweep | None:
    """Return a sweep, locked until the transaction ends: whoever judges its jobs takes turns."""
    return session.scalars(
        select(Sweep).where(Sweep.id == sweep_id).with_for_update()
    ).one_or_none()


def sweep_of(session: Session, job_id: uuid.UUID) -> uuid.UUID | None:
    """Return the id of the sweep that made a job."""
    return session.scalars(select(Trial.sweep_id).where(Trial.job_id == job_id)).one_or_none()


def page_of_sweeps(
    session: Session, owner: uuid.UUID, *, before: uuid.UUID | None, limit: int
) -> Sequence[Sweep]:
    """Return the newest sweeps of this owner, older than `before`, at most `limit`."""
    query = select(Sweep).where(Sweep.owner == owner)
    if before is not None:
        query = query.where(Sweep.id < before)
    return session.scalars(query.order_by(Sweep.id.desc()).limit(limit)).all()


def tried(session: Session, sweep_id: uuid.UUID, *, lock: bool = False) -> Sequence[TriedJob]:
    """Return the jobs of a sweep in their order; their rows are locked if `lock` says so."""
    query = (
        select(Trial, Job)
        .join(Job, Job.id == Trial.job_id)
        .where(Trial.sweep_id == sweep_id)
        .order_by(Trial.position)
    )
    if lock:
        query = query.with_for_update(of=Job)
    return [TriedJob(trial=trial, job=job) for trial, job in session.execute(query)]


def states(
    session: Session, sweep_ids: Sequence[uuid.UUID]
) -> Mapping[uuid.UUID, Mapping[str, int]]:
    """Return sweep -> state -> number of its jobs."""
    counted = session.execute(
        select(Trial.sweep_id, Job.state, func.count())
        .join(Job, Job.id == Trial.job_id)
        .where(Trial.sweep_id.in_(sweep_ids))
        .group_by(Trial.sweep_id, Job.state)
    )
    found: dict[uuid.UUID, dict[str, int]] = {sweep_id: {} for sweep_id in sweep_ids}
    for sweep_id, state, number in counted:
        found[sweep_id][state] = number
    return found


def forward_macs(session: Session, sweep_id: uuid.UUID) -> Mapping[uuid.UUID, int]:
    """Return job -> sum over its recorded epochs, of every phase, of an image's forward MACs."""
    summed = session.execute(
        select(PathStep.job_id, func.sum(PathStep.macs))
        .join(Trial, Trial.job_id == PathStep.job_id)
        .where(Trial.sweep_id == sweep_id)
        .group_by(PathStep.job_id)
    )
    return {job_id: int(macs) for job_id, macs in summed}  # PostgreSQL sums to a Decimal


def curves(
    session: Session, sweep_id: uuid.UUID, phases: Sequence[str]
) -> Mapping[uuid.UUID, Sequence[float]]:
    """Return job -> its validation accuracy after each recorded epoch of these phases."""
    rows = session.execute(
        select(PathStep.job_id, PathStep.validation_accuracy)
        .join(Trial, Trial.job_id == PathStep.job_id)
        .where(Trial.sweep_id == sweep_id, PathStep.phase.in_(phases))
        .order_by(PathStep.job_id, PathStep.step)
    )
    found: dict[uuid.UUID, list[float]] = {}
    for job_id, accuracy in rows:
        found.setdefault(job_id, []).append(accuracy)
    return found


def to_judge(session: Session) -> Sequence[uuid.UUID]:
    """Return the sweeps that may have to stop jobs: they halve or have a cap, and jobs are left."""
    limited = (Sweep.strategy == "halving") | Sweep.max_training_macs.is_not(None)
    return session.scalars(
        select(Sweep.id)
        .join(Trial, Trial.sweep_id == Sweep.id)
        .join(Job, Job.id == Trial.job_id)
        .where(limited, Job.state.not_in(FINAL_STATES))
        .distinct()
        .order_by(Sweep.id)
    ).all()


def members_of(session: Session, sweep_id: uuid.UUID) -> Sequence[Member]:
    """Return the members of all families of a sweep, in the order of its jobs."""
    rows = session.execute(
        select(Model, Artifact)
        .join(Artifact, Artifact.id == Model.artifact_id)
        .join(Trial, Trial.job_id == Model.job_id)
        .where(Trial.sweep_id == sweep_id)
        .order_by(Trial.position, Model.position)
    )
    return [Member(model=model, artifact=artifact) for model, artifact in rows]
