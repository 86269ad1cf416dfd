"""The recorder of a job: what a run reports, written to SQL under the attempt's fence."""

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from service.contract import AttemptOutcome, JobState
from service.store import claims, recording
from service.store.database import Database
from service.store.files import unreferenced
from service.store.ids import new_id
from service.store.tables import Artifact, Job, Model, PathGrowth, PathLayer, PathStep, PathSupport
from slbi.structure.path import GrowthRecord, LayerRecord, StepRecord
from worker.jobs.persist import persist
from worker.training.keeper import Point
from worker.training.recorder import FileRecord, ModelRecord, ProgressRecord, TestRecord

T = TypeVar("T")


class SqlRecorder:
    """A `RunRecorder` of one attempt. Each call is one transaction.

    Args:
        database: where.
        job_id: the job that is held.
        fence: the fence under which it is held.
        artifacts: directory of all files of all jobs.
        give_up: asked while the database is away; True lets the error through.

    Every call raises FenceLostError, having written nothing, once the job is not held any more.
    """

    def __init__(
        self,
        database: Database,
        *,
        job_id: uuid.UUID,
        fence: int,
        artifacts: Path,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._held: dict[str, Any] = {"job_id": job_id, "fence": fence}
        self._artifacts = artifacts
        self._give_up = give_up
        self._names: dict[int, str] = {}
        self._models = 0

    @property
    def output(self) -> Path:
        """Folder of this attempt's files: no other attempt ever writes there."""
        return self._artifacts / str(self._held["job_id"]) / str(self._held["fence"])

    def begin(self, pid: int) -> Job:
        """Note this process's id with the attempt; return the job as it stood."""
        return self._write(lambda session: recording.begin(session, **self._held, pid=pid))

    def go_on(self, point: Point | None) -> None:
        """Go on from where the ledger was rewound to; remove what attempts before left for nothing.

        Args:
            point: where; None begins anew.
        """
        self._models = 0 if point is None else point.models
        with self._database.reading() as session:
            left = unreferenced(
                session, self._artifacts, self._held["job_id"], below=self._held["fence"]
            )
        for path in left:
            path.unlink(missing_ok=True)
        self.output.mkdir(parents=True, exist_ok=True)

    def finish(
        self,
        outcome: AttemptOutcome,
        reason: str | None,
        *,
        max_attempts: int,
        space_needed: int | None = None,
    ) -> JobState:
        """End the attempt and return the state in which that leaves the job."""
        return self._write(
            lambda session: claims.finish(
                session,
                **self._held,
                outcome=outcome,
                reason=reason,
                now=datetime.now(UTC),
                max_attempts=max_attempts,
                space_needed=space_needed,
            ),
            flow="finish",
        )

    def layers(self, layers: Sequence[LayerRecord]) -> None:
        """Keep the layers."""
        self._names = {layer.index: layer.name for layer in layers}
        self._write(
            lambda session: recording.layers(
                session,
                **self._held,
                rows=[
                    PathLayer(
                        job_id=self._held["job_id"],
                        layer=layer.index,
                        name=layer.name,
                        kind=layer.kind,
                        growable=layer.growable,
                        structure=layer.structure,
                    )
                    for layer in layers
                ],
            )
        )

    def step(self, step: StepRecord) -> None:
        """Keep one point."""
        point = _values(step)
        del point["support"]
        at = {"job_id": self._held["job_id"], "step": step.step}
        self._write(
            lambda session: recording.step(
                session,
                **self._held,
                row=PathStep(**self._held, **point),
                support=[PathSupport(**at, **_values(record)) for record in step.support],
            )
        )

    def growth(self, growth: Sequence[GrowthRecord]) -> None:
        """Keep one round's growth."""
        job_id = self._held["job_id"]
        self._write(
            lambda session: recording.growth(
                session,
                **self._held,
                rows=[PathGrowth(job_id=job_id, **_values(record)) for record in growth],
                names=self._names,
                now=datetime.now(UTC),
            )
        )

    def progress(self, progress: ProgressRecord) -> None:
        """Keep where the run stands."""
        data = _values(progress) | {"widths": dict(progress.widths)}
        self._write(
            lambda session: recording.progress(
                session, **self._held, data=data, now=datetime.now(UTC)
            )
        )

    def model(self, model: ModelRecord) -> None:
        """Publish one member; its file must lie in `output`.

        Raises:
            ValueError: the file lies elsewhere.
        """
        model_id, artifact_id, now = new_id(), new_id(), datetime.now(UTC)
        position, stored = self._models, self._stored(model.checkpoint, "a checkpoint")
        member = _values(model) | {"widths": dict(model.widths)}
        del member["checkpoint"]
        self._write(
            lambda session: recording.publish(
                session,
                **self._held,
                row=Model(
                    id=model_id,
                    job_id=self._held["job_id"],
                    position=position,
                    artifact_id=artifact_id,
                    **member,
                ),
                artifact=Artifact(
                    id=artifact_id,
                    **self._held,
                    **stored,
                    kind="checkpoint",
                    format="safetensors",
                    published_at=now,
                ),
                now=now,
            ),
            flow="publish",
        )
        self._models += 1

    def tested(self, results: tuple[TestRecord, ...]) -> None:
        """Keep the test accuracies."""
        accuracies = {result.model: result.accuracy for result in results}
        self._write(
            lambda session: recording.tested(
                session, **self._held, accuracies=accuracies, now=datetime.now(UTC)
            )
        )

    def file(self, record: FileRecord) -> None:
        """Publish a file beside the models; it must lie in `output`.

        Raises:
            ValueError: the file lies elsewhere, or where another one was published before.
        """
        artifact_id, now = new_id(), datetime.now(UTC)
        stored = self._stored(record.path, "a file")
        about = _values(record)
        del about["path"]
        self._write(
            lambda session: recording.file(
                session,
                **self._held,
                row=Artifact(id=artifact_id, **self._held, **stored, **about, published_at=now),
                now=now,
            ),
            flow="attach",
        )

    def findings(self, findings: Mapping[str, Any]) -> None:
        """Keep what the run found out.

        Raises:
            ValueError: JSON cannot say it: PostgreSQL takes no NaN.
        """
        data = json.loads(json.dumps(dict(findings), allow_nan=False))
        self._write(
            lambda session: recording.findings(
                session, **self._held, data=data, now=datetime.now(UTC)
            ),
            flow="findings",
        )

    def _stored(self, path: Path, what: str) -> dict[str, Any]:
        """Return how a row names a file of this attempt: storage key, SHA-256, size.

        Raises:
            ValueError: it lies elsewhere.
        """
        if not path.is_relative_to(self.output):
            raise ValueError(f"{what} must lie in {self.output}, got {path}")
        return {"storage_key": path.relative_to(self._artifacts).as_posix(), **_describe(path)}

    def _write(self, write: Callable[[Session], T], flow: str | None = None) -> T:
        return persist(self._database, write, give_up=self._give_up, flow=flow)


def _values(record: Any) -> dict[str, Any]:  # noqa: ANN401 - any of the frozen records
    """Return the fields of a record as they are; `asdict` would copy, and flatten widths."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _describe(path: Path) -> dict[str, Any]:
    """Return SHA-256 and size of a file."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": sha256, "bytes": path.stat().st_size}
