"""A service in this process, and jobs in its database to ask about."""

import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from service.contract import LOCAL_OWNER, JobState
from service.keys import create_key
from service.settings import Settings
from service.spec.jobs import read_spec
from service.store.database import Database
from service.store.ids import new_id
from service.store.tables import (
    Artifact,
    Attempt,
    Job,
    Model,
    PathGrowth,
    PathLayer,
    PathStep,
    PathSupport,
)

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
SPEC: dict[str, Any] = {"dataset": "digits", "backbone": "vgg11"}


@dataclass
class CountingQueue:
    """A `Queue` that counts how often it was asked to wake somebody."""

    wakes: int = 0
    answers: bool = True

    def wake(self) -> None:
        self.wakes += 1

    def ping(self) -> bool:
        return self.answers


@dataclass
class Service:
    """A running service and the parts it was made of."""

    settings: Settings
    database: Database
    queue: CountingQueue
    app: FastAPI
    client: TestClient
    """Asks without a key."""
    keys: dict[str, uuid.UUID] = field(default_factory=dict)

    def client_with_key(self, name: str = "somebody") -> TestClient:
        """Return a client that sends a new key; `keys` holds its owner."""
        self.keys[name], secret = create_key(self.database, name)
        return TestClient(
            self.app,
            base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {secret}"},
            raise_server_exceptions=False,
        )


@dataclass
class FinishedJob:
    """What `store_finished_job` stored."""

    job_id: uuid.UUID
    artifact_ids: list[uuid.UUID]
    contents: list[bytes]


MEMBERS = (
    # kind, MACs, parameters, validation accuracy
    ("grown", 100, 10, 0.70),
    ("pruned", 60, 6, 0.60),
    ("grown", 400, 40, 0.90),
    ("pruned", 300, 30, 0.90),
    ("tuned", 400, 45, 0.95),
)


def store_job(database: Database, owner: uuid.UUID = LOCAL_OWNER, **columns: Any) -> uuid.UUID:  # noqa: ANN401 - columns
    """Store a queued job, with other columns if given, and return its id."""
    values: dict[str, Any] = {
        "id": new_id(),
        "owner": owner,
        "kind": "grow",
        "spec": read_spec(SPEC).model_dump(mode="json"),
        "spec_sha256": "0" * 64,
        "state": JobState.QUEUED,
        "priority": 0,
        "created_at": NOON,
        "queued_at": NOON,
        **columns,
    }
    with database.writing() as session:
        session.add(Job(**values))
    job_id: uuid.UUID = values["id"]
    return job_id


def store_finished_job(
    database: Database, artifacts: Path, owner: uuid.UUID = LOCAL_OWNER
) -> FinishedJob:
    """Store a succeeded job with a path of two steps and a family of five, files included."""
    job_id = store_job(
        database,
        owner,
        state=JobState.SUCCEEDED,
        fence=1,
        attempts=1,
        started_at=NOON,
        ended_at=NOON + timedelta(minutes=1),
        best_accuracy=0.95,
        progress={"epoch": 2, "eta_seconds": 0.0, "widths": {"conv2": 5, "conv10": 9}},
    )
    done = FinishedJob(job_id, [], [])
    artifacts.mkdir(parents=True, exist_ok=True)
    with database.writing() as session:
        session.add(
            Attempt(
                job_id=job_id,
                fence=1,
                worker_id=new_id(),
                host="here",
                started_at=NOON,
                ended_at=NOON,
                outcome="succeeded",
            )
        )
        for position, (kind, macs, params, accuracy) in enumerate(MEMBERS):
            content = bytes([position]) * (1000 + position)
            key = f"{job_id}-{position}.safetensors"
            (artifacts / key).write_bytes(content)
            artifact = Artifact(
                id=new_id(),
                owner=owner,
                job_id=job_id,
                fence=1,
                kind="checkpoint",
                format="safetensors",
                storage_key=key,
                sha256=hashlib.sha256(content).hexdigest(),
                bytes=len(content),
                published_at=NOON,
            )
            session.add(artifact)
            session.flush()
            session.add(
                Model(
                    id=new_id(),
                    job_id=job_id,
                    position=position,
                    step=10,
                    round=0,
                    kind=kind,
                    origin=f"number {position}",
                    widths={"conv2": 5, "conv10": 9},
                    params=params,
                    macs=macs,
                    validation_accuracy=accuracy,
                    artifact_id=artifact.id,
                )
            )
            done.artifact_ids.append(artifact.id)
            done.contents.append(content)
        _store_path(session, job_id)
    return done


FILES = {
    "conv2-weights.png": ("picture", "png"),
    "order.json": ("order", "json"),
    "mask.safetensors": ("mask", "safetensors"),
    "accuracies.csv": ("table", "csv"),
}
"""Title -> kind and format of what `store_files` stores; each file holds its title."""


def store_files(
    database: Database, artifacts: Path, job_id: uuid.UUID, owner: uuid.UUID = LOCAL_OWNER
) -> dict[str, uuid.UUID]:
    """Store files beside the models of a job; return title -> artifact."""
    artifacts.mkdir(parents=True, exist_ok=True)
    stored = {}
    with database.writing() as session:
        for title, (kind, form) in FILES.items():
            content = title.encode()
            key = f"{job_id}-{title}"
            (artifacts / key).write_bytes(content)
            stored[title] = new_id()
            session.add(
                Artifact(
                    id=stored[title],
                    owner=owner,
                    job_id=job_id,
                    fence=1,
                    kind=kind,
                    format=form,
                    title=title,
                    step=20,
                    storage_key=key,
                    sha256=hashlib.sha256(content).hexdigest(),
                    bytes=len(content),
                    published_at=NOON,
                )
            )
    return stored


def _store_path(session: Session, job_id: uuid.UUID) -> None:
    for layer, name in enumerate(("conv2", "conv10")):
        session.add(PathLayer(job_id=job_id, layer=layer, name=name, kind="conv", growable=True))
    for number, step in enumerate((10, 20)):
        session.add(
            PathStep(
                job_id=job_id,
                step=step,
                fence=1,
                epoch=number + 1,
                round=number,
                phase="grow",
                loss=1.5 - number,
                train_accuracy=0.5,
                validation_accuracy=0.5 + 0.25 * number,
                learning_rate=0.05,
                params=10,
                macs=1000,
                seconds=2.0,
            )
        )
    bits = (
        (10, 0, 3, 2, bytes([0b10100000])),
        (10, 1, 9, 3, bytes([0b10000001, 0b10000000])),
        (20, 0, 5, 4, bytes([0b11101000])),
        (20, 1, 9, 1, bytes([0, 0b10000000])),
    )
    for step, layer, n_filters, n_active, packed in bits:
        session.add(
            PathSupport(
                job_id=job_id,
                step=step,
                layer=layer,
                n_filters=n_filters,
                n_active=n_active,
                bits=packed,
            )
        )
    session.add(
        PathGrowth(
            job_id=job_id,
            step=10,
            layer=0,
            round=0,
            before=3,
            after=5,
            fill=2 / 3,
            threshold=0.5,
            reason="fill 0.67 reached 0.50",
        )
    )
