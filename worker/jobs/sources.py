"""The files of the network that a job starts from, as the attempt reads them."""

import hashlib
import uuid
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.spec.jobs import JobSpec, Still, source_asked
from service.spec.sections import SourceSpec
from service.store.database import Database
from service.store.path import StoredPath, read_path
from service.store.tables import Artifact, Model
from service.store.uploads import find_upload
from slbi.structure.path import GrowthRecord, LayerRecord, PathList, StepRecord, SupportRecord
from worker.training.plans import Source
from worker.training.recipes.files import ORDER


def source_of(
    database: Database, spec: JobSpec, *, owner: uuid.UUID, artifacts: Path
) -> Source | None:
    """Return the files that a job starts from; None if it begins with initial weights.

    Args:
        database: where.
        spec: of the job, completed.
        owner: of the job; files of others are not found.
        artifacts: directory of all files of all jobs.

    Raises:
        ValueError: a file is not kept any more, or is not what it was.
    """
    source = source_asked(spec)
    if source is None:
        return None
    with database.reading() as session:
        checkpoint, order = _rows(session, source, owner)
        path, accuracy = None, None
        if isinstance(spec, Still) and source.job is not None:
            path = _records(read_path(session, source.job, layers=(), first=None, last=None))
            read = select(Model.test_accuracy).where(Model.id == source.model)
            accuracy = session.scalar(read.where(Model.job_id == source.job))
    return Source(
        checkpoint=_whole(artifacts, checkpoint),
        order=None if order is None else _whole(artifacts, order),
        path=path,
        test_accuracy=accuracy,
    )


def _rows(
    session: Session, source: SourceSpec, owner: uuid.UUID
) -> tuple[tuple[str, str], tuple[str, str] | None]:
    """Return storage key and SHA-256 of the checkpoint, and of the entry order if there is one."""
    if source.upload is not None:
        upload = find_upload(session, owner, source.upload)
        if upload is None:
            raise ValueError(f"upload {source.upload} must exist, it is not kept any more")
        return (upload.storage_key, upload.sha256), None
    file = select(Artifact.storage_key, Artifact.sha256).where(Artifact.owner == owner)
    model = file.join(Model, Model.artifact_id == Artifact.id).where(Model.id == source.model)
    found = session.execute(model.where(Model.job_id == source.job)).one_or_none()
    if found is None:
        raise ValueError(f"model {source.model} of job {source.job} must exist, it does not")
    order = file.where(Artifact.job_id == source.job, Artifact.title == ORDER)
    ordered = session.execute(order).one_or_none()
    return (found[0], found[1]), None if ordered is None else (ordered[0], ordered[1])


def _whole(artifacts: Path, row: tuple[str, str]) -> Path:
    """Return the path of a file that is what it was when it was published."""
    key, sha256 = row
    path = artifacts / key
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise ValueError("the file that the job starts from is not kept any more") from None
    if found != sha256:
        raise ValueError("the file that the job starts from must be what was published, it is not")
    return path


def _records(path: StoredPath) -> PathList:
    """Return a stored path as the records that it was made of."""
    layers = [
        LayerRecord(
            index=row.layer,
            name=row.name,
            kind="conv" if row.kind == "conv" else "linear",
            growable=row.growable,
            structure="element" if row.structure == "element" else "filter",
        )
        for row in path.layers
    ]
    records = PathList(layer_records=layers)
    for position, row in enumerate(path.steps):
        support = [
            SupportRecord(
                layer=each.layer, n_filters=each.n_filters, n_active=each.n_active, bits=each.bits
            )
            for each in (path.support[layer.index][position] for layer in layers)
        ]
        records.step_records.append(_step(row, support))
    records.growth_records = [
        GrowthRecord(
            step=row.step,
            round=row.round,
            layer=row.layer,
            before=row.before,
            after=row.after,
            fill=row.fill,
            threshold=row.threshold,
            reason=row.reason,
        )
        for row in path.growth
    ]
    return records


def _step(row: object, support: Sequence[SupportRecord]) -> StepRecord:
    """Return a stored point as the record that it was made of."""
    names = [name for name in StepRecord.__dataclass_fields__ if name != "support"]
    return StepRecord(**{name: getattr(row, name) for name in names}, support=tuple(support))
