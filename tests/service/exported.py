"""Exports of models, and the files that they left."""

import hashlib
import uuid
from typing import Any

from service.contract import EXPORT_FILES, LOCAL_OWNER, ExportFormat, JobState
from service.spec.jobs import read_spec
from service.store.ids import new_id
from service.store.tables import Artifact, Job
from tests.service.origins import Origin
from tests.service.running import NOON, Service, store_job

CONTENT: dict[ExportFormat, bytes] = {
    "onnx": b"onnx", "pt2": b"pt2", "torch": b"PK", "card": b"# card",
}  # fmt: skip


def store_export(
    service: Service,
    origin: Origin,
    *formats: ExportFormat,
    model: int = -1,
    owner: uuid.UUID = LOCAL_OWNER,
    state: JobState = JobState.SUCCEEDED,
    text: bytes = b"",
    **columns: Any,  # noqa: ANN401 - columns
) -> uuid.UUID:
    """Store an export of a model of a job with its files; return its id."""
    source = {"job": str(origin.job), "model": str(origin.models[model])}
    spec = {"kind": "export", "dataset": "digits", "backbone": "vgg11", "source": source}
    job_id = store_job(
        service.database,
        owner,
        kind="export",
        spec=read_spec(spec).model_dump(mode="json"),
        source_job=origin.job,
    )
    finish_export(service, job_id, *formats, owner=owner, state=state, text=text, **columns)
    return job_id


def finish_export(
    service: Service,
    job_id: uuid.UUID,
    *formats: ExportFormat,
    owner: uuid.UUID = LOCAL_OWNER,
    state: JobState = JobState.SUCCEEDED,
    text: bytes = b"",
    **columns: Any,  # noqa: ANN401 - columns
) -> None:
    """End an export, with files of these formats; `text` stands at the end of each."""
    service.settings.artifacts.mkdir(parents=True, exist_ok=True)
    with service.database.writing() as session:
        job = session.get_one(Job, job_id)
        job.state, job.ended_at = state, NOON
        for form in formats:
            title = EXPORT_FILES[form]
            content = CONTENT[form] + text
            (service.settings.artifacts / f"{job_id}-{title}").write_bytes(content)
            values: dict[str, Any] = {
                "id": new_id(),
                "owner": owner,
                "job_id": job_id,
                "fence": 1,
                "kind": "card" if form == "card" else "export",
                "format": title.rpartition(".")[2],
                "title": title,
                "step": 0,
                "storage_key": f"{job_id}-{title}",
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
                "published_at": NOON,
            }
            session.add(Artifact(**{**values, **columns}))
