"""What tests of recorders and ledgers give them, and attempts that hold a job."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select

from service.store import claims
from service.store.ids import new_id
from service.store.tables import Base
from slbi.structure.path import GrowthRecord, LayerRecord, StepRecord, SupportRecord
from tests.yard import Yard
from worker.jobs.held import Held
from worker.jobs.sql_recorder import SqlRecorder
from worker.training.recorder import FileRecord, ModelRecord

LAYERS = (
    LayerRecord(index=0, name="conv1", kind="conv", growable=True),
    LayerRecord(index=1, name="fc1", kind="linear", growable=False),
    LayerRecord(index=2, name="fc2", kind="linear", growable=False, structure="element"),
)


def step(number: int, widths: tuple[int, int]) -> StepRecord:
    support = tuple(
        SupportRecord(layer=layer, n_filters=width, n_active=1, bits=b"\x80" * (width // 8))
        for layer, width in enumerate(widths)
    )
    elements = SupportRecord(layer=2, n_filters=10**6, n_active=number, bits=b"")
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
        support=(*support, elements),
        support_accuracy=None if number < 30 else 0.125,
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


def picture(output: Path, title: str, content: bytes, number: int = 10) -> FileRecord:
    """Write a picture as of step `number` and return its record."""
    path = output / f"{number:03d}-{title}"
    path.write_bytes(content)
    return FileRecord(title=title, kind="picture", format="png", step=number, path=path)


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
    held = Held(
        database=yard.database,
        job_id=claim.job_id,
        fence=claim.fence,
        artifacts=yard.settings.artifacts,
    )
    return claim.job_id, SqlRecorder(held)


def count(yard: Yard, table: type[Base]) -> int:
    with yard.database.reading() as session:
        return session.execute(select(func.count()).select_from(table)).scalar_one()
