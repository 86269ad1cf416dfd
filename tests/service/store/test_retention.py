import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from service.contract import FINAL_STATES, LOCAL_OWNER, JobState
from service.store import presence, retention
from service.store.database import Database
from service.store.ids import new_id
from service.store.tables import Artifact, Checkpoint, IdempotencyKey, Job, Worker
from tests.service.running import NOON, store_job
from tests.service.shelf import Shelf

DAY = timedelta(days=1)


@pytest.fixture
def shelf(database: Database, tmp_path: Path) -> Shelf:
    return Shelf(database, tmp_path / "artifacts")


def ended(shelf: Shelf, state: JobState, at: datetime = NOON) -> uuid.UUID:
    return store_job(shelf.database, state=state, fence=1, ended_at=at)


def forget_checkpoints(shelf: Shelf, before: datetime, limit: int = 10) -> int:
    with shelf.database.writing() as session:
        return retention.forget_checkpoints(session, before=before, limit=limit)


def begin_expiry(shelf: Shelf, limit: int = 10) -> int:
    with shelf.database.writing() as session:
        return retention.begin_expiry(session, keep=DAY, limit=limit)


def times(shelf: Shelf) -> list[datetime | None]:
    with shelf.database.reading() as session:
        return list(session.scalars(select(Artifact.expires_at).order_by(Artifact.id)))


def test_a_job_that_succeeded_needs_no_checkpoint(shelf: Shelf) -> None:
    job_id = ended(shelf, JobState.SUCCEEDED)
    shelf.checkpoint(job_id, 1, "one")
    shelf.checkpoint(job_id, 1, "two")
    assert forget_checkpoints(shelf, before=NOON - DAY) == 2
    assert shelf.rows(Checkpoint) == 0


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_one_that_can_be_retried_keeps_its_checkpoints_for_a_time(
    shelf: Shelf, state: JobState
) -> None:
    shelf.checkpoint(ended(shelf, state), 1)
    assert forget_checkpoints(shelf, before=NOON) == 0
    assert forget_checkpoints(shelf, before=NOON + DAY) == 1
    assert forget_checkpoints(shelf, before=NOON + DAY) == 0


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL_STATES))
def test_a_job_that_has_not_ended_keeps_its_checkpoints(shelf: Shelf, state: JobState) -> None:
    # A retried job was ended once; what counts is its state.
    shelf.checkpoint(ended(shelf, state), 1)
    assert forget_checkpoints(shelf, before=NOON + DAY) == 0


def test_a_job_that_is_being_retried_keeps_its_checkpoints(postgresql: Database) -> None:
    shelf = Shelf(postgresql, Path("nowhere"))
    job_id = ended(shelf, JobState.FAILED)
    with postgresql.writing() as session:
        job = session.scalars(select(Job).where(Job.id == job_id).with_for_update()).one()
        assert forget_checkpoints(shelf, before=NOON + DAY) == 0
        job.state = JobState.QUEUED


def test_rows_are_changed_a_batch_at_a_time(shelf: Shelf) -> None:
    for _ in range(3):
        shelf.checkpoint(ended(shelf, JobState.SUCCEEDED), 1)
    done = [forget_checkpoints(shelf, before=NOON, limit=2) for _ in range(3)]
    assert done == [2, 1, 0]


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_the_artifacts_of_an_ended_job_get_a_time_once(shelf: Shelf, state: JobState) -> None:
    job_id = ended(shelf, state)
    shelf.artifact(job_id, 1, "one")
    shelf.artifact(job_id, 1, "two", expires_at=NOON + 9 * DAY)
    assert begin_expiry(shelf) == 1
    assert times(shelf) == [NOON + DAY, NOON + 9 * DAY]
    assert begin_expiry(shelf) == 0


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL_STATES))
def test_artifacts_of_a_job_that_goes_on_have_no_end(shelf: Shelf, state: JobState) -> None:
    job_id = store_job(shelf.database, state=state, fence=1)
    shelf.artifact(job_id, 1, expires_at=NOON + DAY)
    kept = ended(shelf, JobState.FAILED)
    shelf.artifact(kept, 1, expires_at=NOON + 2 * DAY)
    with shelf.database.writing() as session:
        assert retention.end_expiry(session, limit=10) == 1
    assert times(shelf) == [None, NOON + 2 * DAY]
    assert begin_expiry(shelf) == 0


def test_workers_and_idempotency_keys_of_long_ago_are_forgotten(shelf: Shelf) -> None:
    job_id = store_job(shelf.database)
    with shelf.database.writing() as session:
        for days in (1, 40):
            beat: dict[str, Any] = {"host": "here", "pid": 1, "device": "cpu", "job_id": None}
            presence.beat(session, worker_id=new_id(), now=NOON - days * DAY, **beat)
            session.add(
                IdempotencyKey(
                    id=new_id(),
                    owner=LOCAL_OWNER,
                    key=f"{days} days",
                    body_sha256="0" * 64,
                    job_id=job_id,
                    created_at=NOON - days * DAY,
                )
            )
    with shelf.database.writing() as session:
        before = NOON - 30 * DAY
        assert retention.forget_workers(session, before=before, limit=10) == 1
        assert retention.forget_idempotency_keys(session, before=before, limit=10) == 1
    with shelf.database.reading() as session:
        assert session.scalars(select(Worker.heartbeat_at)).all() == [NOON - DAY]
        assert session.scalars(select(IdempotencyKey.key)).all() == ["1 days"]
