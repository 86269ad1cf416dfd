"""One suite for both recorders: what goes in comes out again, in order, each record once."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import func, select

from service.contract import AttemptOutcome, JobState
from service.errors import FenceLostError
from service.store import claims
from service.store.database import Database
from service.store.tables import (
    Artifact,
    Job,
    JobEvent,
    Model,
    PathGrowth,
    PathLayer,
    PathStep,
    PathSupport,
)
from slbi.structure.path import GrowthRecord, LayerRecord, StepRecord, SupportRecord
from tests.worker.jobs.records import GROWTH, LAYERS, STEPS, count, hold, member
from tests.yard import OWNER, Yard
from worker.jobs.sql_ledger import SqlLedger
from worker.jobs.sql_recorder import SqlRecorder
from worker.training.recorder import (
    ModelRecord,
    ProgressRecord,
    RunList,
    RunRecorder,
    TestRecord,
)

R = TypeVar("R")

PROGRESS = ProgressRecord(
    epoch=3,
    epochs=9,
    round=1,
    phase="grow",
    validation_accuracy=0.25,
    widths={"conv1": 16, "fc1": 16},
    eta_seconds=12.5,
)

TESTS = (TestRecord(model=0, accuracy=0.75), TestRecord(model=1, accuracy=0.5))


@dataclass
class Kept:
    """A recorder, and how to read again what it was given."""

    recorder: RunRecorder
    output: Path
    read: Callable[[], RunList]


def record_all(kept: Kept) -> RunList:
    """Give a recorder a whole run, and return what it was given."""
    given = RunList()
    for recorder in (given, kept.recorder):
        recorder.layers(LAYERS)
        recorder.step(STEPS[0])
        recorder.step(STEPS[1])
        recorder.model(member(kept.output, 0))
        recorder.model(member(kept.output, 1))
        recorder.growth(GROWTH)
        recorder.step(STEPS[2])
        recorder.progress(PROGRESS)
        recorder.tested(TESTS)
    return given


def begin_anew(recorder: SqlRecorder, pid: int = 1) -> dict[str, Any]:
    """Let an attempt begin as one does that finds no checkpoint."""
    spec = recorder.begin(pid)
    ledger = SqlLedger(recorder._database, **recorder._held, artifacts=recorder._artifacts)
    ledger.rewind(None, [])
    recorder.go_on(None)
    return spec


def as_record(kind: type[R], row: object, **other: Any) -> R:  # noqa: ANN401 - any field's value
    names = {field.name for field in fields(kind)} - set(other)  # type: ignore[arg-type]
    return kind(**{name: getattr(row, name) for name in names}, **other)


def read_back(database: Database, artifacts: Path) -> RunList:
    """Read the only job of a database; of its history, which is never deleted, the last attempt."""
    kept = RunList()
    with database.reading() as session:
        for layer in session.scalars(select(PathLayer).order_by(PathLayer.layer)):
            kept.layer_records.append(as_record(LayerRecord, layer, index=layer.layer))
        for point in session.scalars(select(PathStep).order_by(PathStep.step)):
            rows = session.scalars(
                select(PathSupport)
                .where(PathSupport.step == point.step)
                .order_by(PathSupport.layer)
            )
            support = tuple(as_record(SupportRecord, row) for row in rows)
            kept.step_records.append(as_record(StepRecord, point, support=support))
        for grown in session.scalars(select(PathGrowth).order_by(PathGrowth.layer)):
            kept.growth_records.append(as_record(GrowthRecord, grown))
        for model in session.scalars(select(Model).order_by(Model.position)):
            artifact = session.get_one(Artifact, model.artifact_id)
            checkpoint = artifacts / artifact.storage_key
            kept.model_records.append(as_record(ModelRecord, model, checkpoint=checkpoint))
            if model.test_accuracy is not None:
                test = TestRecord(model=model.position, accuracy=model.test_accuracy)
                kept.test_records.append(test)
        newest = select(func.max(JobEvent.fence)).scalar_subquery()
        events = (
            select(JobEvent)
            .where(JobEvent.type == "progress", JobEvent.fence == newest)
            .order_by(JobEvent.id)
        )
        for event in session.scalars(events):
            kept.progress_records.append(ProgressRecord(**event.data))
    return kept


@pytest.fixture(params=["list", "sqlite", pytest.param("postgresql", marks=pytest.mark.stack)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "list":
        listed = RunList()
        return Kept(listed, tmp_path, lambda: listed)
    yard = Yard(request.getfixturevalue(request.param), tmp_path)
    yard.enqueue()
    _, recorder = hold(yard)
    begin_anew(recorder)
    return Kept(
        recorder,
        recorder.output,
        lambda: read_back(yard.database, yard.settings.artifacts),
    )


def test_a_recorder_gives_back_what_it_was_given(kept: Kept) -> None:
    given = record_all(kept)
    assert kept.read() == given


def test_a_member_is_published_with_hash_size_and_a_path_that_holds_the_fence(yard: Yard) -> None:
    job_id = yard.enqueue()
    _, recorder = hold(yard)
    begin_anew(recorder)
    recorder.model(member(recorder.output, 3))
    with yard.database.reading() as session:
        artifact = session.scalars(select(Artifact)).one()
        assert artifact.owner == OWNER
        assert artifact.storage_key == f"{job_id}/1/3.safetensors"
        assert artifact.bytes == 21
        assert artifact.sha256 == hashlib.sha256(b"weights" * 3).hexdigest()


def test_a_file_outside_the_attempts_folder_is_not_published(yard: Yard, tmp_path: Path) -> None:
    yard.enqueue()
    _, recorder = hold(yard)
    begin_anew(recorder)
    with pytest.raises(ValueError, match="a checkpoint must lie in"):
        recorder.model(member(tmp_path, 0))
    assert count(yard, Model) == 0


def test_the_history_tells_what_a_client_wants_to_watch(yard: Yard) -> None:
    job_id = yard.enqueue()
    _, recorder = hold(yard)
    begin_anew(recorder)
    record_all(Kept(recorder, recorder.output, RunList))
    recorder.finish(AttemptOutcome.SUCCEEDED, None, max_attempts=3)
    assert yard.happened(job_id) == [
        "claimed",
        "model",
        "model",
        "grew",
        "progress",
        "tested",
        "attempt_ended",
        "succeeded",
    ]
    grew = yard.events(job_id)[3].data
    assert grew["layers"][0]["layer"] == "conv1"
    assert yard.job(job_id).best_accuracy == 0.9
    assert yard.job(job_id).progress == {
        "epoch": 3,
        "epochs": 9,
        "round": 1,
        "phase": "grow",
        "validation_accuracy": 0.25,
        "widths": {"conv1": 16, "fc1": 16},
        "eta_seconds": 12.5,
    }


WRITES: dict[str, Callable[[SqlRecorder], object]] = {
    "begin": lambda recorder: recorder.begin(1),
    "layers": lambda recorder: recorder.layers(LAYERS),
    "step": lambda recorder: recorder.step(STEPS[0]),
    "growth": lambda recorder: recorder.growth(GROWTH),
    "progress": lambda recorder: recorder.progress(PROGRESS),
    "model": lambda recorder: recorder.model(member(recorder.output, 1)),
    "tested": lambda recorder: recorder.tested(TESTS),
    "finish": lambda recorder: recorder.finish(AttemptOutcome.SUCCEEDED, None, max_attempts=3),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("claimed_again", [False, True])
def test_a_stale_attempt_can_write_nothing(yard: Yard, write: str, *, claimed_again: bool) -> None:
    job_id = yard.enqueue()
    _, stale = hold(yard)
    begin_anew(stale)
    with yard.database.writing() as session:
        later = datetime.now(UTC) + timedelta(hours=1)
        assert claims.expire(session, now=later, max_attempts=3) == [job_id]
    if claimed_again:
        hold(yard)
    tables = (PathLayer, PathStep, PathSupport, PathGrowth, Model, Artifact, JobEvent)
    before = [count(yard, table) for table in tables]

    with pytest.raises(FenceLostError):
        WRITES[write](stale)

    assert [count(yard, table) for table in tables] == before
    assert yard.job(job_id).progress is None
    assert yard.state(job_id) == (JobState.RUNNING if claimed_again else JobState.QUEUED)


def test_an_attempt_without_a_checkpoint_deletes_what_the_one_before_left(yard: Yard) -> None:
    job_id = yard.enqueue()
    _, first = hold(yard)
    begin_anew(first)
    record_all(Kept(first, first.output, RunList))
    with yard.database.writing() as session:
        claims.expire(session, now=datetime.now(UTC) + timedelta(hours=1), max_attempts=3)
    _, second = hold(yard)
    assert begin_anew(second, pid=2)["dataset"] == "digits"
    tables = (PathLayer, PathStep, PathSupport, PathGrowth, Model, Artifact)
    assert [count(yard, table) for table in tables] == [0] * len(tables)
    job = yard.job(job_id)
    assert (job.progress, job.best_accuracy) == (None, None)
    assert list(first.output.iterdir()) == []
    assert yard.attempts(job_id)[1].pid == 2
    given = record_all(Kept(second, second.output, RunList))
    assert read_back(yard.database, yard.settings.artifacts) == given


def test_a_write_repeated_after_a_lost_answer_does_no_harm(yard: Yard) -> None:
    """Each write once more under the same fence, as after a commit whose answer did not arrive."""
    yard.enqueue()
    job_id, recorder = hold(yard)
    begin_anew(recorder)
    recorder.layers(LAYERS)
    for write in ("layers", "step", "growth", "progress"):
        WRITES[write](recorder)
        WRITES[write](recorder)
    assert count(yard, PathLayer) == len(LAYERS)
    assert count(yard, PathStep) == 1
    assert count(yard, PathGrowth) == 1
    assert yard.happened(job_id) == ["claimed", "grew", "progress"]


def test_another_job_is_left_alone(yard: Yard) -> None:
    yard.enqueue()
    other = yard.enqueue()
    _, first = hold(yard)
    begin_anew(first)
    record_all(Kept(first, first.output, RunList))
    with yard.database.reading() as session:
        before = session.scalars(select(PathStep.step)).all()
    _, second = hold(yard)
    begin_anew(second)
    with yard.database.reading() as session:
        assert session.scalars(select(PathStep.step)).all() == before
        assert session.get_one(Job, other).best_accuracy is None
    assert first.output.exists()
