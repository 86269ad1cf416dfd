"""The checker of fault histories can fail: each rule is given a history that breaks it."""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from bench.faults.checker import violations
from bench.faults.history import History
from bench.faults.outcome import differences, outcome
from service.store.tables import (
    Artifact,
    Attempt,
    Checkpoint,
    Job,
    JobEvent,
    Model,
    PathGrowth,
    PathStep,
    PathSupport,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
JOB = uuid.UUID(int=1)


def event(fence: int, kind: str, **data: object) -> JobEvent:
    return JobEvent(job_id=JOB, fence=fence, at=NOON, type=kind, data=data)


def step(epoch: int, fence: int) -> PathStep:
    return PathStep(
        job_id=JOB,
        step=10 * epoch,
        fence=fence,
        epoch=epoch,
        round=0,
        phase="grow",
        loss=1.0 / epoch,
        train_accuracy=0.5,
        validation_accuracy=0.5,
        learning_rate=0.1,
        params=1,
        macs=1,
        seconds=1.0,
    )


def support(epoch: int, filters: int) -> PathSupport:
    return PathSupport(
        job_id=JOB, step=10 * epoch, layer=0, n_filters=filters, n_active=1, bits=b"\x80"
    )


def attempt(fence: int, outcome: str, resumed_from: int | None) -> Attempt:
    return Attempt(
        job_id=JOB,
        fence=fence,
        worker_id=JOB,
        host="here",
        started_at=NOON,
        ended_at=NOON + timedelta(seconds=1),
        outcome=outcome,
        resumed_from=resumed_from,
    )


def model(position: int, fence: int, artifacts: Path) -> tuple[Model, Artifact, JobEvent]:
    content = save({"w": torch.full((2,), float(position))})
    key = f"{JOB}/{fence}/{position}.safetensors"
    path = artifacts / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    row = Model(
        id=uuid.uuid4(),
        job_id=JOB,
        position=position,
        step=10 * (position + 1),
        round=0,
        kind="grown",
        origin="here",
        widths={"a": 1},
        params=1,
        macs=1,
        validation_accuracy=0.5,
        test_accuracy=0.5,
        artifact_id=uuid.uuid4(),
    )
    file = Artifact(
        id=row.artifact_id,
        job_id=JOB,
        fence=fence,
        kind="checkpoint",
        format="safetensors",
        storage_key=key,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
    )
    return row, file, event(fence, "model", model=str(row.id))


def file(fence: int, artifacts: Path) -> tuple[Artifact, JobEvent]:
    key = f"{JOB}/{fence}/020-a.csv"
    path = artifacts / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a,b")
    row = Artifact(
        id=uuid.uuid4(),
        job_id=JOB,
        fence=fence,
        kind="table",
        format="csv",
        title="a.csv",
        step=20,
        storage_key=key,
        sha256=hashlib.sha256(b"a,b").hexdigest(),
        bytes=3,
    )
    return row, event(fence, "file", artifact=str(row.id))


@pytest.fixture
def history(tmp_path: Path) -> History:
    """A job that was lost once and went on behind its first epoch, and came to a good end."""
    first, second = model(0, 1, tmp_path), model(1, 2, tmp_path)
    table = file(2, tmp_path)
    events = [
        event(0, "submitted"),
        event(1, "claimed"),
        event(1, "progress", epoch=1),
        first[2],
        event(1, "attempt_ended", outcome="lost"),
        event(1, "requeued"),
        event(2, "claimed"),
        event(2, "restored", step=10, epoch=1),
        event(2, "grew"),
        event(2, "progress", epoch=2),
        second[2],
        event(2, "tested"),
        event(2, "findings"),
        table[1],
        event(2, "attempt_ended", outcome="succeeded"),
        event(2, "succeeded"),
    ]
    return History(
        job=Job(id=JOB, state="succeeded", fence=2, attempts=2, best_accuracy=0.5),
        events=events,
        attempts=[attempt(1, "lost", None), attempt(2, "succeeded", 10)],
        steps=[step(1, 1), step(2, 2)],
        support=[support(1, 4), support(2, 8)],
        growth=[PathGrowth(job_id=JOB, step=10, layer=0, round=0, before=4, after=8, fill=1.0)],
        models=[first[0], second[0]],
        artifacts=[first[1], second[1], table[0]],
        checkpoints=[],
    )


def test_a_job_that_went_on_properly_is_not_complained_of(history: History, tmp_path: Path) -> None:
    assert violations(history, tmp_path) == []


def edited(edit: Callable[[list[Any]], object], name: str) -> Callable[[History], History]:
    """Return what changes a copy of one of the lists of a history."""

    def change(history: History) -> History:
        rows = list(getattr(history, name))
        edit(rows)
        changed: dict[str, Any] = {name: rows}
        return replace(history, **changed)

    return change


def assigned(name: str, place: int, **values: object) -> Callable[[History], History]:
    """Return what sets columns of one row of a history."""

    def change(history: History) -> History:
        row = history.job if name == "job" else getattr(history, name)[place]
        for column, value in values.items():
            setattr(row, column, value)
        return history

    return change


BROKEN: dict[str, tuple[Callable[[History], History], str]] = {
    "two ends": (edited(lambda e: e.append(event(2, "failed")), "events"), "end exactly once"),
    "no end": (edited(lambda e: e.pop(), "events"), "end exactly once"),
    "claimed behind its end": (
        edited(lambda e: e.extend([event(3, "claimed")]), "events"),
        "nobody may claim it behind its end",
    ),
    "another state": (assigned("job", 0, state="failed"), "its state must be that of its last end"),
    "a fence twice": (assigned("events", 6, fence=1), "raise the fence by one"),
    "a claim nobody counted": (assigned("job", 0, attempts=1), "it must count 2 attempts"),
    "an attempt without a row": (edited(lambda a: a.pop(), "attempts"), "an attempt for every"),
    "two at once": (edited(lambda e: e.pop(4), "events"), "must end before"),
    "a stale write": (
        edited(lambda e: e.insert(7, event(1, "model", model="x")), "events"),
        "attempt 1 may not write model while 2 holds",
    ),
    "a write of nobody": (
        edited(lambda e: e.insert(6, event(1, "progress", epoch=2)), "events"),
        "while nobody holds the job",
    ),
    "an end told wrongly": (assigned("attempts", 0, outcome="oom"), "must end as its event says"),
    "an end without a verdict": (edited(lambda e: e.pop(5), "events"), "must be judged at once"),
    "an attempt that never ended": (assigned("attempts", 0, ended_at=None), "must have ended"),
    "an epoch left out": (assigned("events", 9, data={"epoch": 3}), "must report epoch 2"),
    "an epoch twice": (
        edited(lambda e: e.insert(10, event(2, "progress", epoch=2)), "events"),
        "must report epoch 3",
    ),
    "a hole in the path": (edited(lambda s: s.pop(0), "steps"), "every epoch once and in order"),
    "a path out of order": (assigned("steps", 0, fence=2), "must not come twice"),
    "a path of a stranger": (assigned("steps", 1, fence=7), "of its own attempts"),
    "a support left out": (edited(lambda s: s.pop(), "support"), "is missing"),
    "a growth left out": (edited(lambda g: g.clear(), "growth"), "went from 4 to 8"),
    "a model twice": (assigned("models", 1, position=0), "the places 0, 1, 2"),
    "a file of no model": (edited(lambda m: m.pop(), "models"), "belongs to none"),
    "a model without its file": (edited(lambda a: a.pop(1), "artifacts"), "a file of its own"),
    "a title twice": (
        edited(
            lambda a: a.append(
                Artifact(id=JOB, job_id=JOB, fence=1, title="a.csv", step=1, storage_key="x")
            ),
            "artifacts",
        ),
        "one file a.csv",
    ),
    "a file announced by another": (assigned("artifacts", 2, fence=1), "file a.csv must be ann"),
    "a file that was lost and remained": (
        assigned("artifacts", 2, fence=1),
        "file a.csv of attempt 1 must be gone",
    ),
    "a stale file": (
        edited(lambda e: e.insert(7, event(1, "file", artifact="x")), "events"),
        "attempt 1 may not write file while 2 holds",
    ),
    "a model announced by another": (assigned("artifacts", 1, fence=1), "announced once"),
    "a model that was not tested": (assigned("models", 0, test_accuracy=None), "been tested"),
    "what was lost and remained": (
        assigned("attempts", 1, resumed_from=5),
        "of attempt 1 must be gone",
    ),
    "a file of another size": (assigned("artifacts", 0, bytes=1), "must have 1 bytes"),
    "a file of other content": (assigned("artifacts", 0, sha256="0"), "must have the SHA-256"),
    "a file that is gone": (assigned("artifacts", 0, storage_key="x"), "must be there"),
    "a heap of checkpoints": (
        edited(
            lambda rows: rows.extend(
                Checkpoint(job_id=JOB, fence=1, storage_key="x", sha256="", bytes=0)
                for _ in range(3)
            ),
            "checkpoints",
        ),
        "2 checkpoints are kept at most",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_history_that_is_broken_is_complained_of(
    history: History, tmp_path: Path, name: str
) -> None:
    break_it, said = BROKEN[name]
    told = violations(break_it(history), tmp_path)
    assert any(said in sentence for sentence in told), told


def test_two_equal_runs_do_not_differ(history: History, tmp_path: Path) -> None:
    assert differences(outcome(history, tmp_path), outcome(history, tmp_path)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (assigned("steps", 1, loss=0.25), "its path must equal"),
        (assigned("support", 1, bits=b"\x00"), "its support must equal"),
        (assigned("growth", 0, after=9), "its growth must equal"),
        (assigned("models", 0, widths={"a": 2}), "its models must equal"),
        (assigned("job", 0, best_accuracy=0.25), "its best_accuracy must equal"),
        (assigned("job", 0, state="failed"), "it must be succeeded"),
    ],
)
def test_another_result_is_told(
    history: History, tmp_path: Path, change: Callable[[History], History], said: str
) -> None:
    expected = outcome(history, tmp_path)
    (told,) = differences(expected, outcome(change(history), tmp_path))
    assert said in told


def test_one_bit_of_a_weight_is_enough(history: History, tmp_path: Path) -> None:
    expected = outcome(history, tmp_path)
    path = tmp_path / history.artifacts[1].storage_key
    path.write_bytes(save({"w": torch.tensor([1.0, 1.0000001])}))
    (told,) = differences(expected, outcome(history, tmp_path))
    assert "its weights must equal" in told
