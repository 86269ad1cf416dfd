import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.store import presence
from service.store.database import Database
from service.store.ids import new_id
from tests.yard import Yard

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HEARTBEAT = timedelta(seconds=5)


@pytest.fixture
def yard(database: Database, tmp_path: Path) -> Yard:
    return Yard(database, tmp_path)


def beat(
    yard: Yard,
    worker_id: uuid.UUID,
    *,
    job_id: uuid.UUID | None = None,
    now: datetime = NOW,
    pid: int = 1,
    device: str = "cpu",
) -> None:
    with yard.database.writing() as session:
        presence.beat(
            session,
            worker_id=worker_id,
            host="here",
            pid=pid,
            device=device,
            job_id=job_id,
            now=now,
        )


def retire(yard: Yard, worker_id: uuid.UUID, now: datetime) -> None:
    with yard.database.writing() as session:
        presence.retire(session, worker_id=worker_id, now=now)


def wanted(yard: Yard, now: datetime = NOW) -> int:
    with yard.database.reading() as session:
        return presence.wanted(session, now=now, heartbeat=HEARTBEAT)


def test_the_first_beat_registers_and_later_ones_renew(yard: Yard) -> None:
    worker_id, job_id = new_id(), new_id()
    beat(yard, worker_id)
    beat(yard, worker_id, job_id=job_id, now=NOW + HEARTBEAT)
    (worker,) = yard.workers()
    assert (worker.started_at, worker.heartbeat_at) == (NOW, NOW + HEARTBEAT)
    assert worker.job_id == job_id


def test_a_retired_worker_is_kept_and_marked(yard: Yard) -> None:
    worker_id = new_id()
    beat(yard, worker_id, job_id=new_id())
    retire(yard, worker_id, NOW + HEARTBEAT)
    (worker,) = yard.workers()
    assert worker.stopped_at == NOW + HEARTBEAT
    assert worker.job_id is None


def test_another_process_of_the_same_identity_starts_anew(yard: Yard) -> None:
    worker_id, later = new_id(), NOW + HEARTBEAT
    beat(yard, worker_id)
    beat(yard, worker_id, pid=2, device="cuda", now=later)
    beat(yard, worker_id, pid=2, device="cuda", now=later + HEARTBEAT)
    (worker,) = yard.workers()
    assert (worker.pid, worker.device) == (2, "cuda")
    assert (worker.started_at, worker.heartbeat_at) == (later, later + HEARTBEAT)


def test_a_worker_that_stopped_and_is_back_is_alive_again(yard: Yard) -> None:
    worker_id, later = new_id(), NOW + 2 * HEARTBEAT
    beat(yard, worker_id)
    retire(yard, worker_id, NOW + HEARTBEAT)
    beat(yard, worker_id, now=later)  # in a container, under the same process id
    (worker,) = yard.workers()
    assert (worker.started_at, worker.stopped_at) == (later, None)
    yard.enqueue()
    assert wanted(yard, later) == 1


def test_only_a_living_idle_worker_is_wanted_for_a_queued_job(yard: Yard) -> None:
    worker_id = new_id()
    beat(yard, worker_id)
    assert wanted(yard) == 0
    yard.enqueue()
    assert wanted(yard) == 1
    assert wanted(yard, NOW + 3 * HEARTBEAT) == 0
    beat(yard, worker_id, job_id=new_id())
    assert wanted(yard) == 0
