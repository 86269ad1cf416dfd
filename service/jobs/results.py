"""What a job brought: its path, its family, the model that fits a budget, the files."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from service.contract import EXPORT_FILES, ExportFormat, ModelKind
from service.errors import GoneError, NotExportedError, NotFoundError
from service.jobs.follow import missing
from service.store.database import Database
from service.store.family import Member, artifacts_of, family_of, find_artifact, find_export
from service.store.jobs import find_job
from service.store.path import StoredPath, read_path
from service.store.tables import Artifact


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What a model may cost and must reach; None sets no bound."""

    max_macs: int | None = None
    max_params: int | None = None
    min_accuracy: float | None = None
    """On the validation split, 0 to 1."""
    kind: ModelKind | None = None

    def holds(self, member: Member) -> bool:
        """Return whether a model fits."""
        return self.excess(member) == 0 and self.kind in {None, member.model.kind}

    def excess(self, member: Member) -> float:
        """Return by how much a model misses the bounds, each as a share of itself."""
        model = member.model
        over = 0.0
        if self.max_macs is not None:
            over += max(0.0, model.macs / self.max_macs - 1)
        if self.max_params is not None:
            over += max(0.0, model.params / self.max_params - 1)
        if self.min_accuracy is not None:
            over += max(0.0, self.min_accuracy - model.validation_accuracy)
        return over

    def __str__(self) -> str:
        bounds = [
            f"max_macs {self.max_macs}" if self.max_macs is not None else "",
            f"max_params {self.max_params}" if self.max_params is not None else "",
            f"min_accuracy {self.min_accuracy}" if self.min_accuracy is not None else "",
            f"kind {self.kind}" if self.kind is not None else "",
        ]
        return ", ".join(bound for bound in bounds if bound) or "no bound at all"


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedMember:
    """A model, and whether no other costs less and is as accurate, or is better at its cost."""

    member: Member
    pareto: bool


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
    database: Database, owner: uuid.UUID, job_id: uuid.UUID, budget: Budget
) -> Sequence[RankedMember]:
    """Return the models that fit, the cheapest first.

    Raises:
        NotFoundError: this owner has no job of this id.
    """
    members = _members(database, owner, job_id)
    ranked = [
        RankedMember(member=member, pareto=not any(_beats(other, member) for other in members))
        for member in members
        if budget.holds(member)
    ]
    return sorted(ranked, key=lambda each: (each.member.model.macs, each.member.model.position))


def best(database: Database, owner: uuid.UUID, job_id: uuid.UUID, budget: Budget) -> Member:
    """Return the model of the highest validation accuracy that fits; of equal ones the cheapest.

    Models of another data set than the job's are not among them.

    Raises:
        NotFoundError: this owner has no such job, it has no model yet, or none fits; then the
            nearest is named.
    """
    members = _members(database, owner, job_id)
    if not members:
        raise NotFoundError(f"Job {job_id} has no model yet.")
    return best_of(members, budget)


def best_of(members: Sequence[Member], budget: Budget) -> Member:
    """Return the model that `best` would.

    Raises:
        NotFoundError: none fits; the nearest is named.
    """
    own = [member for member in members if member.model.dataset is None]
    fitting = [member for member in own if budget.holds(member)]
    if not fitting:
        nearest = min(own, key=lambda member: (not _of_kind(member, budget), budget.excess(member)))
        raise NotFoundError(f"No model fits {budget}; the nearest is {_described(nearest)}.")
    return max(fitting, key=lambda each: (each.model.validation_accuracy, -each.model.macs))


def export_of(database: Database, owner: uuid.UUID, member: Member, form: ExportFormat) -> Artifact:
    """Return the record of a model's file in another format, of its latest export.

    Raises:
        NotExportedError: there is none; it says which request makes it.
    """
    model = member.model
    with database.reading() as session:
        found = find_export(session, owner, model, EXPORT_FILES[form], datetime.now(UTC))
        session.expunge_all()
    if found is not None:
        return found
    source = {"job": str(model.job_id), "model": str(model.id)}
    body = {"kind": "export", "source": source, "export": {"formats": [form]}}
    raise NotExportedError(
        f"Model {model.id} must have been exported as {form}, it has not. "
        f"POST /v1/jobs with {json.dumps(body)} makes it.",
        request={"method": "POST", "path": "/v1/jobs", "body": body},
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


def _members(database: Database, owner: uuid.UUID, job_id: uuid.UUID) -> Sequence[Member]:
    with database.reading() as session:
        if find_job(session, owner, job_id) is None:
            raise missing(job_id)
        members = family_of(session, owner, job_id)
        session.expunge_all()
    return members


def _beats(other: Member, member: Member) -> bool:
    """Return whether `other` is at least as good in MACs and accuracy, and better in one."""
    ours = (-member.model.macs, member.model.validation_accuracy)
    theirs = (-other.model.macs, other.model.validation_accuracy)
    return theirs != ours and all(a >= b for a, b in zip(theirs, ours, strict=True))


def _of_kind(member: Member, budget: Budget) -> bool:
    return budget.kind in {None, member.model.kind}


def _described(member: Member) -> str:
    model = member.model
    return (
        f"{model.origin} ({model.kind}, id {model.id}) with {model.macs} MACs, {model.params} "
        f"parameters and validation accuracy {model.validation_accuracy:.4f}"
    )
