"""Exports that are there, or on their way: they are used again rather than made again."""

import json
import uuid
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from service.contract import EXPORT_FILES, ExportFormat, JobState
from service.errors import GoneError, NotExportedError
from service.jobs.results import file_of
from service.store.database import Database
from service.store.exports import exported, exports_like, files_of_export
from service.store.family import Member
from service.store.tables import Artifact, Job

_ALWAYS: frozenset[ExportFormat] = frozenset({"card"})
"""What every export makes, asked for or not. Source: docs/export.md."""


def export_of(
    database: Database, artifacts: Path, owner: uuid.UUID, member: Member, form: ExportFormat
) -> Artifact:
    """Return the record of a model's file in another format, of its latest export that is there.

    Raises:
        NotExportedError: there is none; it says which request makes it.
    """
    model = member.model
    with database.reading() as session:
        found = exported(session, owner, model, EXPORT_FILES[form], datetime.now(UTC))
        session.expunge_all()
    for record in found:
        if _is_there(record, artifacts):
            return record
    source = {"job": str(model.job_id), "model": str(model.id)}
    body = {"kind": "export", "source": source, "export": {"formats": [form]}}
    raise NotExportedError(
        f"Model {model.id} must have been exported as {form}, it has not. "
        f"POST /v1/jobs with {json.dumps(body)} makes it.",
        request={"method": "POST", "path": "/v1/jobs", "body": body},
    )


def find_alike(session: Session, artifacts: Path, job: Job, now: datetime) -> Job | None:
    """Return the newest export that has made, or will make, all that a new one would.

    It is of the same network in at least the same formats, and every other option is the same but
    its priority, and its label where none is asked for. It waits or runs, or has succeeded and its
    files are there.

    Args:
        session: in a transaction that has locked what the export starts from.
        artifacts: directory of all files.
        job: the new export, which no database holds yet.
        now: the time.
    """
    wanted = _formats(job.spec)
    titles = [EXPORT_FILES[form] for form in wanted]
    for other in exports_like(session, job):
        if not wanted <= _formats(other.spec) or _options(other.spec) != _options(job.spec):
            continue
        if job.label not in {None, other.label}:
            continue
        if other.state != JobState.SUCCEEDED or _are_there(session, artifacts, other, titles, now):
            return other
    return None


def _formats(spec: Mapping[str, Any]) -> AbstractSet[ExportFormat]:
    """Return in which formats an export hands its network over."""
    return _ALWAYS | frozenset(spec["export"]["formats"] or EXPORT_FILES)


def _options(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return all that makes one export differ from another, but for its formats and label."""
    export = {name: value for name, value in spec["export"].items() if name != "formats"}
    kept = {name: value for name, value in spec.items() if name not in {"label", "priority"}}
    return {**kept, "export": export}


def _are_there(
    session: Session, artifacts: Path, job: Job, titles: Sequence[str], now: datetime
) -> bool:
    records = files_of_export(session, job.id, titles, now)
    return len(records) == len(titles) and all(_is_there(each, artifacts) for each in records)


def _is_there(record: Artifact, artifacts: Path) -> bool:
    try:
        file_of(record, artifacts)
    except GoneError:
        return False
    return True
