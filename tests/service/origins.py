"""Networks that jobs can start from: jobs that have succeeded, files that were sent."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi.testclient import TestClient

from service.contract import LOCAL_OWNER, JobState
from service.spec.jobs import read_spec
from service.store.ids import new_id
from service.store.tables import Artifact, Model
from tests.service.running import NOON, SPEC, Service, store_job
from tests.service.tensor_files import content, tensor

GROUPS = tuple(f"conv{number}" for number in range(1, 9))
"""Of VGG-11."""
WIDTHS = dict.fromkeys(GROUPS, 8)

ABOUT: Mapping[str, Any] = {
    "format": 1,
    "dataset": "digits",
    "backbone": "vgg11",
    "widths": WIDTHS,
    "entry": {"conv1": [0] * 8},
    "config": {"data": {"image_size": 16, "validation": 0.3}, "compute": {"seed": 9}},
}
"""What a checkpoint says of itself, as far as it counts here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """A job from which others start."""

    job: uuid.UUID
    models: tuple[uuid.UUID, ...]
    """The last one is the most accurate."""


def store_origin(
    service: Service,
    *,
    owner: uuid.UUID = LOCAL_OWNER,
    state: JobState = JobState.SUCCEEDED,
    spec: Mapping[str, Any] = SPEC,
    models: int = 2,
    datasets: tuple[str | None, ...] = (None, None),
    expires_at: datetime | None = None,
    groups: Sequence[str] | None = None,
) -> Origin:
    """Store a job with models whose files are there."""
    stored = read_spec(spec).model_dump(mode="json")
    job_id = store_job(
        service.database, owner, state=state, spec=stored, fence=1, attempts=1, ended_at=NOON
    )
    artifacts = service.settings.artifacts
    artifacts.mkdir(parents=True, exist_ok=True)
    ids = []
    with service.database.writing() as session:
        for position in range(models):
            key = f"{job_id}-{position}.safetensors"
            (artifacts / key).write_bytes(b"12345")
            artifact = Artifact(
                id=new_id(),
                owner=owner,
                job_id=job_id,
                fence=1,
                kind="checkpoint",
                format="safetensors",
                storage_key=key,
                sha256="0" * 64,
                bytes=5,
                published_at=NOON,
                expires_at=expires_at,
            )
            session.add(artifact)
            session.flush()
            ids.append(new_id())
            session.add(
                Model(
                    id=ids[-1],
                    job_id=job_id,
                    position=position,
                    step=10,
                    round=0,
                    kind="grown",
                    origin=f"round {position}",
                    dataset=datasets[position],
                    widths=dict.fromkeys(groups or GROUPS, 8),
                    params=10,
                    macs=100,
                    validation_accuracy=0.5 + 0.1 * position,
                    artifact_id=artifact.id,
                )
            )
    return Origin(job=job_id, models=tuple(ids))


def send(client: TestClient, about: object = None) -> str:
    """Send a file, which describes itself if anything is given; return the upload's id."""
    header: dict[str, Any] = {"w": tensor([2], 0, 8)}
    if about is not None:
        text = about if isinstance(about, str) else json.dumps(about)
        header["__metadata__"] = {"slbi": text}
    answer = client.post(
        "/v1/uploads",
        content=content(header, bytes(8)),
        headers={"Content-Type": "application/octet-stream"},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
