"""The recorder of a job: what a run reports, written to SQL under the attempt's fence."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.contract import AttemptOutcome, JobState
from service.store import claims, recording
from service.store.files import unreferenced
from service.store.ids import new_id
from service.store.tables import Artifact, Job, Model, PathGrowth, PathLayer, PathStep, PathSupport
from slbi.structure.path import GrowthRecord, LayerRecord, StepRecord
from worker.jobs.held import Held
from worker.training.keeper import Point
from worker.training.recorder import FileRecord, ModelRecord, ProgressRecord, TestRecord


class SqlRecorder:
    """A `RunRecorder` of one attempt. Each call is one transaction.

    Args:
        held: what the attempt holds.

    Every call raises FenceLostError, having written nothing, once the job is not held any more.
    """

    def __init__(self, held: Held) -> None:
        self._held = held
        self._names: dict[int, str] = {}
        self._models = 0

    @property
    def output(self) -> Path:
        """Folder of this attempt's files."""
        return self._held.output

    def begin(self, pid: int) -> Job:
        """Note this process's id with the attempt; return the job as it stood."""
        return self._held.write(
            lambda session: recording.begin(session, **self._held.claim, pid=pid)
        )

    def go_on(self, point: Point | None) -> None:
        """Go on from where the ledger was rewound to; remove what attempts before left for nothing.

        Args:
            point: where; None begins anew.
        """
        self._models = 0 if point is None else point.models
        with self._held.database.reading() as session:
            left = unreferenced(
                session, self._held.artifacts, self._held.job_id, below=self._held.fence
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
        return self._held.write(
            lambda session: claims.finish(
                session,
                **self._held.claim,
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
        self._held.write(
            lambda session: recording.layers(
                session,
                **self._held.claim,
                rows=[
                    PathLayer(
                        job_id=self._held.job_id,
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
        at = {"job_id": self._held.job_id, "step": step.step}
        self._held.write(
            lambda session: recording.step(
                session,
                **self._held.claim,
                row=PathStep(**self._held.claim, **point),
                support=[PathSupport(**at, **_values(record)) for record in step.support],
            )
        )

    def growth(self, growth: Sequence[GrowthRecord]) -> None:
        """Keep one round's growth."""
        job_id = self._held.job_id
        self._held.write(
            lambda session: recording.growth(
                session,
                **self._held.claim,
                rows=[PathGrowth(job_id=job_id, **_values(record)) for record in growth],
                names=self._names,
                now=datetime.now(UTC),
            )
        )

    def progress(self, progress: ProgressRecord) -> None:
        """Keep where the run stands."""
        data = _values(progress) | {"widths": dict(progress.widths)}
        self._held.write(
            lambda session: recording.progress(
                session, **self._held.claim, data=data, now=datetime.now(UTC)
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
        self._held.write(
            lambda session: recording.publish(
                session,
                **self._held.claim,
                row=Model(
                    id=model_id,
                    job_id=self._held.job_id,
                    position=position,
                    artifact_id=artifact_id,
                    **member,
                ),
                artifact=Artifact(
                    id=artifact_id,
                    **self._held.claim,
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
        self._held.write(
            lambda session: recording.tested(
                session, **self._held.claim, accuracies=accuracies, now=datetime.now(UTC)
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
        self._held.write(
            lambda session: recording.file(
                session,
                **self._held.claim,
                row=Artifact(
                    id=artifact_id, **self._held.claim, **stored, **about, published_at=now
                ),
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
        self._held.write(
            lambda session: recording.findings(
                session, **self._held.claim, data=data, now=datetime.now(UTC)
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
        return {"storage_key": path.relative_to(self._held.artifacts).as_posix(), **_describe(path)}


def _values(record: Any) -> dict[str, Any]:  # noqa: ANN401 - any of the frozen records
    """Return the fields of a record as they are; `asdict` would copy, and flatten widths."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _describe(path: Path) -> dict[str, Any]:
    """Return SHA-256 and size of a file."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": sha256, "bytes": path.stat().st_size}
