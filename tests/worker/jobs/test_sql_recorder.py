"""One suite for both recorders: what goes in comes out again, in order, each record once."""

import hashlib
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import func, select

from service import failpoints
from service.contract import AttemptOutcome, JobState
from service.errors import FenceLostError
from service.store import claims
from service.store.database import Database
from service.store.files import unreferenced
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
from tests.worker.jobs.records import GROWTH, LAYERS, STEPS, count, hold, member, picture
from tests.yard import OWNER, Yard
from worker.jobs.sql_ledger import SqlLedger
from worker.jobs.sql_recorder import SqlRecorder
from worker.training.recorder import (
    FileRecord,
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

FINDINGS = {"order": [3, 1, 2], "best": {"kept": 0.25, "name": "round 1"}, "none": None}

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
        recorder.file(picture(kept.output, "a.png", b"first"))
        recorder.file(picture(kept.output, "b.png", b"other"))
        recorder.findings({"order": []})
        recorder.growth(GROWTH)
        recorder.step(STEPS[2])
        recorder.file(picture(kept.output, "a.png", b"second", 30))
        recorder.findings(FINDINGS)
        recorder.progress(PROGRESS)
        recorder.tested(TESTS)
    return given


def begin_anew(recorder: SqlRecorder, pid: int = 1) -> dict[str, Any]:
    """Let an attempt begin as one does that finds no checkpoint."""
    spec = recorder.begin(pid).spec
    ledger = SqlLedger(recorder._held)
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
        files = select(Artifact).where(Artifact.title.is_not(None))
        for file in session.scalars(files.order_by(Artifact.published_at)):
            path = artifacts / file.storage_key
            kept.file_records.append(as_record(FileRecord, file, path=path))
        kept.found = session.scalars(select(Job.findings)).one()
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
    with pytest.raises(ValueError, match="a file must lie in"):
        recorder.file(picture(tmp_path, "a.png", b"x"))
    assert count(yard, Artifact) == 0


def test_a_later_file_takes_the_place_of_the_one_of_its_title(yard: Yard) -> None:
    job_id = yard.enqueue()
    _, recorder = hold(yard)
    begin_anew(recorder)
    recorder.file(picture(recorder.output, "a.png", b"first", 10))
    recorder.file(picture(recorder.output, "a.png", b"second", 20))
    with yard.database.reading() as session:
        artifact = session.scalars(select(Artifact)).one()
        assert artifact.owner == OWNER
        assert (artifact.title, artifact.step, artifact.bytes) == ("a.png", 20, 6)
        assert artifact.sha256 == hashlib.sha256(b"second").hexdigest()
        named = str(artifact.id)
        left = unreferenced(session, yard.settings.artifacts, job_id, below=2)
    assert [path.read_bytes() for path in left] == [b"first"]
    assert yard.events(job_id)[-1].data == {
        "artifact": named,
        "title": "a.png",
        "kind": "picture",
        "format": "png",
        "bytes": 6,
    }


def test_a_published_file_may_not_change(yard: Yard) -> None:
    yard.enqueue()
    _, recorder = hold(yard)
    begin_anew(recorder)
    recorder.file(picture(recorder.output, "a.png", b"first"))
    with pytest.raises(ValueError, match="a file must be published once"):
        recorder.file(picture(recorder.output, "a.png", b"second"))
    assert count(yard, Artifact) == 1


@pytest.mark.parametrize("title", ["", "a.jpg", "../a.png", ".png", "a/b.png", f"{'a' * 252}.png"])
def test_a_title_is_a_plain_name_that_ends_in_its_format(title: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="title must be a plain file name"):
        FileRecord(title=title, kind="picture", format="png", step=0, path=tmp_path)


def test_findings_that_json_cannot_say_are_refused(yard: Yard) -> None:
    job_id = yard.enqueue()
    _, recorder = hold(yard)
    begin_anew(recorder)
    with pytest.raises(ValueError, match="JSON"):
        recorder.findings({"loss": float("nan")})
    assert yard.job(job_id).findings is None


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in failpoints.NAMES
        if re.match(r"(attach|findings)\.(?!file|sync|ren|fol)", name)
    ],
)
def test_a_kill_between_any_two_writes_leaves_all_or_nothing(yard: Yard, name: str) -> None:
    """The child that dies is a fork, which never returns to the test."""
    job_id = yard.enqueue()
    _, recorder = hold(yard)
    begin_anew(recorder)
    recorder.file(picture(recorder.output, "a.png", b"first", 10))
    second = picture(recorder.output, "a.png", b"second", 20)
    (yard.settings.home / name).touch()
    yard.database.close()
    child = os.fork()
    if child == 0:
        try:
            failpoints.arm(yard.settings.home)
            recorder.file(second)
            recorder.findings(FINDINGS)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    flow, write, side = name.split(".")
    told = flow == "findings" or (write, side) == ("commit", "after")
    found = (flow, write, side) == ("findings", "commit", "after")
    with yard.database.reading() as session:
        (artifact,) = session.scalars(select(Artifact)).all()
        content = (yard.settings.artifacts / artifact.storage_key).read_bytes()
        assert hashlib.sha256(content).hexdigest() == artifact.sha256
    assert content == (b"second" if told else b"first")
    assert yard.job(job_id).findings == (FINDINGS if found else None)
    assert yard.happened(job_id) == [
        "claimed", "file", *["file"] * told, *["findings"] * found,
    ]  # fmt: skip


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
        "file",
        "file",
        "findings",
        "grew",
        "file",
        "findings",
        "progress",
        "tested",
        "attempt_ended",
        "succeeded",
    ]
    grew = yard.events(job_id)[6].data
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
    "file": lambda recorder: recorder.file(picture(recorder.output, "a.png", b"x")),
    "findings": lambda recorder: recorder.findings(FINDINGS),
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
    assert (job.progress, job.best_accuracy, job.findings) == (None, None, None)
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
    for write in ("layers", "step", "growth", "progress", "file", "findings"):
        WRITES[write](recorder)
        WRITES[write](recorder)
    assert count(yard, PathLayer) == len(LAYERS)
    assert count(yard, PathStep) == 1
    assert count(yard, PathGrowth) == 1
    assert count(yard, Artifact) == 1
    assert yard.happened(job_id) == ["claimed", "grew", "progress", "file", "findings"]


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
