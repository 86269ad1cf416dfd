"""What a job brought: its path, its family, the model that fits a budget, the files."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from service.contract import FINAL_STATES, CheckpointFormat, Measure
from service.errors import GoneError, NotFoundError
from service.jobs.budgets import Budget, Choice, Nearest, as_json, choose, explain, nearest
from service.jobs.follow import missing
from service.jobs.measures import ranked
from service.store.database import Database
from service.store.family import Member, artifacts_of, family_of, find_artifact
from service.store.jobs import find_job
from service.store.path import StoredPath, read_path
from service.store.tables import Artifact, Job


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedMember:
    """A model, and whether it is on the front of those that fit."""

    member: Member
    pareto: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """The models of a job, or of a sweep, that fit a budget, and the one to take."""

    ranked: Sequence[RankedMember]
    """The cheapest first."""
    measures: tuple[Measure, Measure]
    """Over which the front is."""
    lacking: Sequence[Member]
    """Those that are on no front, since nobody took one of its measures."""
    chosen: Choice | None
    """What the checkpoint would be of; None if none fits."""
    nearest: Nearest | None
    """The nearest if none fits."""
    ended: bool
    """Whether the jobs have ended; until then models may be added."""


def path(
    database: Database,
    owner: uuid.UUID,
    job_id: uuid.UUID,
    *,
    layers: Sequence[str],
    first: int | None,
    last: int | None,
) -> StoredPath:
    """Return a job's structure path between two steps.

    Args:
        layers: names or numbers; none at all means every layer.
        first: the first step wanted.
        last: the last step wanted.

    Raises:
        NotFoundError: this owner has no job of this id.
    """
    with database.reading() as session:
        if find_job(session, owner, job_id) is None:
            raise missing(job_id)
        found = read_path(session, job_id, layers=layers, first=first, last=last)
        session.expunge_all()
    return found


def family(
    database: Database,
    owner: uuid.UUID,
    job_id: uuid.UUID,
    budget: Budget,
    measures: tuple[Measure, Measure],
) -> Family:
    """Return the models that fit, and which of them to take.

    Args:
        measures: over which the front of those that fit is.

    Raises:
        NotFoundError: this owner has no job of this id.
    """
    job, members = _members(database, owner, job_id)
    return family_from(members, budget, measures, ended=job.state in FINAL_STATES)


def family_from(
    members: Sequence[Member], budget: Budget, measures: tuple[Measure, Measure], *, ended: bool
) -> Family:
    """Return which of these members fit, and which of them to take; see `family`."""
    fitting = [member for member in members if budget.holds(member)]
    fitting.sort(key=lambda member: (member.model.macs, member.model.position))
    on, lacking = ranked(fitting, measures)
    taken = choose(members, budget)
    near = nearest(members, budget, "safetensors") if taken is None else None
    return Family(
        ranked=[
            RankedMember(member=member, pareto=is_on)
            for member, is_on in zip(fitting, on, strict=True)
        ],
        measures=measures,
        lacking=lacking,
        chosen=None if taken is None else explain(members, budget, taken),
        nearest=None if near is None else near[1],
        ended=ended,
    )


def best(
    database: Database,
    owner: uuid.UUID,
    job_id: uuid.UUID,
    budget: Budget,
    form: CheckpointFormat,
) -> Member:
    """Return the model of the highest validation accuracy that fits; of equal ones the cheapest.

    Models of another data set than the job's are not among them.

    Args:
        form: in which its file is wanted.

    Raises:
        NotFoundError: this owner has no such job, it has no model yet, or none fits; then the
            nearest is named.
    """
    job, members = _members(database, owner, job_id)
    taken = choose(members, budget)
    if taken is not None:
        return taken
    near = nearest(members, budget, form)
    if near is None:
        raise NotFoundError(f"Job {job_id} has no model yet.")
    more = "" if job.state in FINAL_STATES else " The job has not ended, it may bring others."
    raise NotFoundError(
        f"{near[1].reason}{more}", request=near[1].request, nearest=as_json(near[1])
    )


def artifacts(database: Database, owner: uuid.UUID, job_id: uuid.UUID) -> Sequence[Artifact]:
    """Return the records of a job's files, in the order in which they came about.

    Raises:
        NotFoundError: this owner has no job of this id.
    """
    with database.reading() as session:
        if find_job(session, owner, job_id) is None:
            raise missing(job_id)
        found = artifacts_of(session, owner, job_id)
        session.expunge_all()
    return found


def artifact(database: Database, owner: uuid.UUID, artifact_id: uuid.UUID) -> Artifact:
    """Return the record of a file.

    Raises:
        NotFoundError: this owner has none of this id.
    """
    with database.reading() as session:
        found = find_artifact(session, owner, artifact_id)
        session.expunge_all()
    if found is None:
        raise NotFoundError(f"No artifact has id {artifact_id}.")
    return found


def file_of(record: Artifact, directory: Path) -> Path:
    """Return where a file lies.

    Raises:
        GoneError: its time is over, or it is not there any more.
    """
    if record.expires_at is not None and record.expires_at <= datetime.now(UTC):
        raise GoneError(f"Artifact {record.id} was kept until {record.expires_at.isoformat()}.")
    place = (directory / record.storage_key).resolve()
    # Keys are made by workers, never by clients; a link or a damaged row must not lead out either.
    if not place.is_relative_to(directory.resolve()) or not place.is_file():
        raise GoneError(f"The file of artifact {record.id} is not there any more.")
    return place


def _members(
    database: Database, owner: uuid.UUID, job_id: uuid.UUID
) -> tuple[Job, Sequence[Member]]:
    with database.reading() as session:
        job = find_job(session, owner, job_id)
        if job is None:
            raise missing(job_id)
        members = family_of(session, owner, job_id)
        session.expunge_all()
    return job, members
