"""One suite for both recorders: what goes in comes out again, in order, each record once."""

import hashlib
import uuid
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
from service.store.ids import new_id
from service.store.tables import (
    Artifact,
    Base,
    Job,
    JobEvent,
    Model,
    PathGrowth,
    PathLayer,
    PathStep,
    PathSupport,
)
from slbi.structure.path import GrowthRecord, LayerRecord, StepRecord, SupportRecord
from tests.yard import OWNER, Yard
from worker.jobs.sql_recorder import SqlRecorder
from worker.training.recorder import (
    ModelRecord,
    ProgressRecord,
    RunList,
    RunRecorder,
    TestRecord,
)

R = TypeVar("R")

LAYERS = (
    LayerRecord(index=0, name="conv1", kind="conv", growable=True),
    LayerRecord(index=1, name="fc1", kind="linear", growable=False),
)


def step(number: int, widths: tuple[int, int]) -> StepRecord:
    support = tuple(
        SupportRecord(layer=layer, n_filters=width, n_active=1, bits=b"\x80" * (width // 8))
        for layer, width in enumerate(widths)
    )
    return StepRecord(
        step=number,
        epoch=number // 10,
        round=0 if number < 30 else 1,
        phase="grow",
        loss=1 / number,
        train_accuracy=0.5,
        validation_accuracy=0.25,
        learning_rate=0.05,
        params=123,
        macs=2**40,
        seconds=1.5,
        support=support,
    )


STEPS = (step(10, (8, 16)), step(20, (8, 16)), step(30, (16, 16)))

GROWTH = (
    GrowthRecord(
        step=20,
        round=0,
        layer=0,
        before=8,
        after=16,
        fill=0.875,
        threshold=0.8,
        reason="fill 0.88 reached 0.80",
    ),
)

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


def member(output: Path, number: int) -> ModelRecord:
    path = output / f"{number}.safetensors"
    path.write_bytes(b"weights" * number)
    return ModelRecord(
        step=20,
        round=0,
        kind="grown" if number == 0 else "pruned",
        origin=f"round {number}",
        widths={"conv1": 8, "fc1": 16},
        params=100 - number,
        macs=1000 - number,
        validation_accuracy=0.9 - number / 10,
        latency_ms=0.5,
        checkpoint=path,
    )


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


def hold(yard: Yard) -> tuple[uuid.UUID, SqlRecorder]:
    """Return a claimed job, and the recorder of its attempt."""
    with yard.database.writing() as session:
        claim = claims.claim(
            session,
            worker_id=new_id(),
            host="here",
            device="cpu",
            pid=1,
            now=datetime.now(UTC),
            lease=timedelta(seconds=30),
        )
    assert claim is not None
    recorder = SqlRecorder(
        yard.database,
        job_id=claim.job_id,
        fence=claim.fence,
        artifacts=yard.settings.artifacts,
    )
    return claim.job_id, recorder


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
    recorder.begin(1)
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
    recorder.begin(1)
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
    recorder.begin(1)
    with pytest.raises(ValueError, match="a checkpoint must lie in"):
        recorder.model(member(tmp_path, 0))
    assert count(yard, Model) == 0


def test_the_history_tells_what_a_client_wants_to_watch(yard: Yard) -> None:
    job_id = yard.enqueue()
    _, recorder = hold(yard)
    recorder.begin(1)
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


def count(yard: Yard, table: type[Base]) -> int:
    with yard.database.reading() as session:
        return session.execute(select(func.count()).select_from(table)).scalar_one()


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
    stale.begin(1)
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


def test_a_new_attempt_deletes_what_the_old_one_left(yard: Yard) -> None:
    job_id = yard.enqueue()
    _, first = hold(yard)
    first.begin(1)
    record_all(Kept(first, first.output, RunList))
    with yard.database.writing() as session:
        claims.expire(session, now=datetime.now(UTC) + timedelta(hours=1), max_attempts=3)
    _, second = hold(yard)
    assert second.begin(2)["dataset"] == "digits"
    tables = (PathLayer, PathStep, PathSupport, PathGrowth, Model, Artifact)
    assert [count(yard, table) for table in tables] == [0] * len(tables)
    job = yard.job(job_id)
    assert (job.progress, job.best_accuracy) == (None, None)
    assert not first.output.exists()
    assert yard.attempts(job_id)[1].pid == 2
    given = record_all(Kept(second, second.output, RunList))
    assert read_back(yard.database, yard.settings.artifacts) == given


def test_a_write_repeated_after_a_lost_answer_does_no_harm(yard: Yard) -> None:
    """Each write once more under the same fence, as after a commit whose answer did not arrive."""
    yard.enqueue()
    job_id, recorder = hold(yard)
    recorder.begin(1)
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
    first.begin(1)
    record_all(Kept(first, first.output, RunList))
    with yard.database.reading() as session:
        before = session.scalars(select(PathStep.step)).all()
    _, second = hold(yard)
    second.begin(1)
    with yard.database.reading() as session:
        assert session.scalars(select(PathStep.step)).all() == before
        assert session.get_one(Job, other).best_accuracy is None
    assert first.output.exists()
