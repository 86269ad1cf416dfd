"""The network that a job starts from: which model of which job, or which uploaded file."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.contract import JobState
from service.errors import FieldError, InvalidRequestError
from service.jobs.results import Budget, best_of
from service.spec.sections import SourceSpec
from service.store.database import Database
from service.store.family import Member, family_of
from service.store.jobs import find_job
from service.store.uploads import find_upload
from service.tensors import METADATA, read_header

DESCRIPTION = "slbi"
"""Key of a checkpoint's metadata that holds its JSON. Source: docs/data.md, "Checkpoints"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundSource:
    """A network that a job can start from."""

    source: SourceSpec
    """As asked, its model named."""
    dataset: str | None
    """On which it was trained; None where only who sent it knows."""
    backbone: str | None
    """Its name; None where only who sent it knows."""
    widths: Mapping[str, int] | None
    """Group -> filters; None where only the file tells."""


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
            or the file is not kept any more.
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
        message = f"source.model must have a file, that of {member.model.id} is not kept any more"
        raise _refused("/source/model", "gone", message)
    return FoundSource(
        source=SourceSpec(job=source.job, model=member.model.id),
        dataset=member.model.dataset or job.spec["dataset"],
        backbone=job.spec["backbone"],
        widths=member.model.widths,
    )


def _uploaded(
    database: Database, artifacts: Path, owner: uuid.UUID, source: SourceSpec
) -> FoundSource:
    """Return an uploaded network; one that this project wrote tells what it is."""
    upload_id = source.upload
    with database.reading() as session:
        upload = None if upload_id is None else find_upload(session, owner, upload_id)
        session.expunge_all()
    if upload is None or upload.expires_at <= datetime.now(UTC):
        message = f"source.upload must be the id of one of your uploads, got {upload_id}"
        raise _refused("/source/upload", "unknown_upload", message)
    about = _description(artifacts / upload.storage_key)
    return FoundSource(
        source=source,
        dataset=about.get("dataset"),
        backbone=about.get("backbone"),
        widths=about.get("widths"),
    )


def _description(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says about itself, nothing if it holds tensors alone."""
    try:
        told = read_header(path).get(METADATA, {}).get(DESCRIPTION, "{}")
        about = json.loads(told)
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _member(source: SourceSpec, members: Sequence[Member]) -> Member:
    if not members:
        message = f"source.job must have left a model, {source.job} has none"
        raise _refused("/source/job", "no_model", message)
    if source.model is None:
        return best_of(members, Budget())
    for member in members:
        if member.model.id == source.model:
            return member
    known = ", ".join(str(member.model.id) for member in members)
    message = f"source.model must be a model of the job, one of {known}; got {source.model}"
    raise _refused("/source/model", "unknown_model", message)


def _refused(pointer: str, code: str, message: str) -> InvalidRequestError:
    error = FieldError(pointer=pointer, code=code, message=message)
    return InvalidRequestError(f"{message}.", [error])
