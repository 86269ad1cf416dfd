"""The network that a job starts from: which model of which job, or which uploaded file."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import Session

from service.contract import JobState
from service.errors import FieldError, InvalidRequestError
from service.jobs.budgets import Budget, choose
from service.jobs.described import Described, described
from service.spec.sections import SourceSpec
from service.store.database import Database
from service.store.family import Member, family_of
from service.store.jobs import find_job
from service.store.needs import keep_source
from service.store.tables import Job
from service.store.uploads import find_kept


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundSource:
    """A network that a job can start from. None stands for what only who sent it knows."""

    source: SourceSpec
    """As asked, its model named."""
    dataset: str | None
    """On which it was trained."""
    backbone: str | None
    """Its name."""
    stem: str | None
    """Which one it has: standard, small, or auto where its images tell."""
    widths: Mapping[str, int] | None
    """Group -> filters."""
    image_size: int | None
    """Side to which its images were scaled, px; None also where they were not."""
    validation: float | None
    """Share of the training images that it did not learn from."""
    seed: int | None
    """Which images those are."""
    ordered: bool
    """Whether it says in which order its filters entered the support."""
    ordered_singly: bool
    """Whether it is known in which order its single weights did."""
    followed: bool
    """Whether the path is stored that led to it."""


def find_source(
    database: Database, artifacts: Path, owner: uuid.UUID, source: SourceSpec
) -> FoundSource:
    """Return what a job would start from.

    Args:
        database: where.
        artifacts: directory of all files.
        owner: whose.
        source: as asked.

    Raises:
        InvalidRequestError: this owner has no such job, model or upload, the job has not succeeded,
            or the file is not kept any more or says nonsense of itself.
    """
    if source.job is None:
        return _uploaded(database, artifacts, owner, source)
    with database.reading() as session:
        job = find_job(session, owner, source.job)
        members = [] if job is None else family_of(session, owner, source.job)
        session.expunge_all()
    if job is None:
        message = f"source.job must be the id of one of your jobs, got {source.job}"
        raise _refused("/source/job", "unknown_job", message)
    if job.state != JobState.SUCCEEDED:
        message = f"source.job must be a job that has succeeded, {source.job} is {job.state}"
        raise _refused("/source/job", "not_succeeded", message)
    member = _member(source, members)
    expires_at = member.artifact.expires_at
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise _gone(member.model.id)
    return FoundSource(
        source=SourceSpec(job=source.job, model=member.model.id),
        dataset=member.model.dataset or job.spec["dataset"],
        backbone=job.spec["backbone"],
        # Of before there were two stems nothing is told: the images of all such jobs had 64 px.
        stem=job.spec.get("stem") or "auto",
        widths=member.model.widths,
        image_size=job.spec["data"]["image_size"],
        validation=job.spec["data"]["validation"],
        seed=job.spec["compute"]["seed"],
        ordered=True,
        ordered_singly=job.spec.get("twin", {}).get("structure") in {"mixed", "element"},
        followed=True,
    )


def hold_source(session: Session, job: Job) -> None:
    """Keep what a job starts from, found before, until it has ended; in the job's transaction.

    Raises:
        InvalidRequestError: it is not kept any more.
    """
    if keep_source(session, job, datetime.now(UTC)):
        return
    if job.source_upload is not None:
        raise _unknown(job.source_upload)
    raise _gone(job.spec["source"]["model"])


def _uploaded(
    database: Database, artifacts: Path, owner: uuid.UUID, source: SourceSpec
) -> FoundSource:
    """Return an uploaded network; one that this project wrote tells what it is."""
    upload_id = source.upload
    with database.reading() as session:
        now = datetime.now(UTC)
        upload = None if upload_id is None else find_kept(session, owner, upload_id, now)
        session.expunge_all()
    if upload is None:
        raise _unknown(upload_id)
    try:
        about = described(artifacts / upload.storage_key)
    except OSError:
        raise _unknown(upload_id) from None
    except ValueError as error:
        message = f"source.upload must describe itself as a checkpoint does, or not: {error}"
        raise _refused("/source/upload", "unsound_description", message) from error
    told = Described() if about is None else about
    return FoundSource(
        source=source,
        dataset=told.dataset,
        backbone=told.backbone,
        stem=None if about is None else told.stem,
        widths=told.widths,
        image_size=told.config.data.image_size,
        validation=told.config.data.validation,
        seed=told.config.compute.seed,
        ordered=bool(told.entry),
        ordered_singly=False,
        followed=False,
    )


def _member(source: SourceSpec, members: Sequence[Member]) -> Member:
    if not members:
        message = f"source.job must have left a model, {source.job} has none"
        raise _refused("/source/job", "no_model", message)
    if source.model is None:
        taken = choose(members, Budget())
        if taken is not None:
            return taken
    for member in members:
        if member.model.id == source.model:
            return member
    known = ", ".join(str(member.model.id) for member in members)
    message = f"source.model must be a model of the job, one of {known}; got {source.model}"
    raise _refused("/source/model", "unknown_model", message)


def _unknown(upload_id: uuid.UUID | None) -> InvalidRequestError:
    message = f"source.upload must be the id of one of your uploads, got {upload_id}"
    return _refused("/source/upload", "unknown_upload", message)


def _gone(model_id: uuid.UUID | str) -> InvalidRequestError:
    message = f"source.model must have a file, that of {model_id} is not kept any more"
    return _refused("/source/model", "gone", message)


def _refused(pointer: str, code: str, message: str) -> InvalidRequestError:
    error = FieldError(pointer=pointer, code=code, message=message)
    return InvalidRequestError(f"{message}.", [error])
