from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from service.store import claims, recording
from service.store.database import Database
from service.store.ids import new_id
from service.store.tables import Artifact, Model
from tests.yard import OWNER, Yard

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def yard(database: Database, tmp_path: Path) -> Yard:
    """A place with one job, claimed under fence 1."""
    yard = Yard(database, tmp_path)
    yard.enqueue()
    with database.writing() as session:
        claims.claim(
            session,
            worker_id=new_id(),
            host="here",
            device="cpu",
            pid=1,
            now=NOW,
            lease=timedelta(seconds=30),
        )
    return yard


def publish(yard: Yard, *, accuracy: float, position: int = 0, times: int = 1) -> None:
    job_id = yard.only_job()
    model_id, artifact_id = new_id(), new_id()
    for _ in range(times):
        artifact = Artifact(
            id=artifact_id,
            job_id=job_id,
            fence=1,
            kind="checkpoint",
            format="safetensors",
            storage_key=f"{artifact_id}",
            sha256="0" * 64,
            bytes=1,
            published_at=NOW,
        )
        model = Model(
            id=model_id,
            job_id=job_id,
            position=position,
            step=1,
            round=0,
            kind="grown",
            origin="round 0",
            widths={"conv1": 8},
            params=1,
            macs=1,
            validation_accuracy=accuracy,
            artifact_id=artifact_id,
        )
        with yard.database.writing() as session:
            recording.publish(
                session, job_id=job_id, fence=1, row=model, artifact=artifact, now=NOW
            )


def test_a_member_and_its_file_appear_together_and_belong_to_the_jobs_owner(yard: Yard) -> None:
    publish(yard, accuracy=0.5)
    with yard.database.reading() as session:
        model = session.scalars(select(Model)).one()
        assert session.get_one(Artifact, model.artifact_id).owner == OWNER
    assert yard.happened(yard.only_job()) == ["claimed", "model"]


def test_a_member_published_again_after_a_lost_answer_stays_one(yard: Yard) -> None:
    publish(yard, accuracy=0.5, times=2)
    with yard.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Model)) == 1
        assert session.scalar(select(func.count()).select_from(Artifact)) == 1
    assert yard.happened(yard.only_job()) == ["claimed", "model"]


def test_the_best_accuracy_of_a_job_never_falls(yard: Yard) -> None:
    seen = []
    for position, accuracy in enumerate((0.5, 0.9, 0.7)):
        publish(yard, accuracy=accuracy, position=position)
        seen.append(yard.job(yard.only_job()).best_accuracy)
    assert seen == [0.5, 0.9, 0.9]


def test_test_accuracies_go_to_the_members_they_name_once(yard: Yard) -> None:
    for position in range(3):
        publish(yard, accuracy=0.5, position=position)
    job_id = yard.only_job()
    for _ in range(2):
        with yard.database.writing() as session:
            recording.tested(
                session, job_id=job_id, fence=1, accuracies={0: 0.25, 2: 0.75}, now=NOW
            )
    with yard.database.reading() as session:
        tested = session.scalars(select(Model.test_accuracy).order_by(Model.position)).all()
    assert tested == [0.25, None, 0.75]
    assert yard.happened(job_id).count("tested") == 1
