import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from service.contract import JobState
from service.reconciler import Reconciler
from service.store import claims, presence
from service.store.database import Database
from service.store.ids import new_id
from tests.yard import Yard, wait_for


class Bell:
    """A queue that counts how often it was rung."""

    def __init__(self) -> None:
        self.rung = 0

    def wake(self) -> None:
        self.rung += 1

    def ping(self) -> bool:
        return True


@pytest.fixture
def yard(database: Database, tmp_path: Path) -> Yard:
    return Yard(database, tmp_path)


def reconciler(yard: Yard, bell: Bell) -> Reconciler:
    return Reconciler(yard.database, bell, yard.settings)


def see_worker(yard: Yard, *, seconds_ago: float = 0.0, busy: bool = False) -> None:
    with yard.database.writing() as session:
        presence.beat(
            session,
            worker_id=new_id(),
            host="here",
            pid=1,
            device="cpu",
            job_id=new_id() if busy else None,
            now=datetime.now(UTC) - timedelta(seconds=seconds_ago),
        )


def test_as_many_idle_workers_are_woken_as_there_are_jobs_for(yard: Yard) -> None:
    bell = Bell()
    yard.enqueue()
    yard.enqueue()
    see_worker(yard, busy=True)
    see_worker(yard, seconds_ago=60)
    reconciler(yard, bell).reconcile()
    assert bell.rung == 0  # nobody could begin
    for expected in (1, 2, 2):
        see_worker(yard)
        bell.rung = 0
        reconciler(yard, bell).reconcile()
        assert bell.rung == expected


def test_nobody_is_woken_for_nothing(yard: Yard) -> None:
    bell = Bell()
    see_worker(yard)
    reconciler(yard, bell).reconcile()
    assert bell.rung == 0


def test_the_thread_requeues_a_job_whose_worker_fell_silent(yard: Yard) -> None:
    job_id = yard.enqueue()
    with yard.database.writing() as session:
        claims.claim(
            session,
            worker_id=new_id(),
            host="here",
            device="cpu",
            pid=1,
            now=datetime.now(UTC) - timedelta(seconds=60),
            lease=timedelta(seconds=30),
        )
    thread = reconciler(yard, Bell())
    thread.start()
    try:
        wait_for(lambda: yard.state(job_id) == JobState.QUEUED)
    finally:
        thread.stop()
    assert yard.outcomes(job_id) == ["lost"]


def test_the_thread_survives_an_outage_of_the_database(sqlite: Database, tmp_path: Path) -> None:
    yard, bell = Yard(sqlite, tmp_path), Bell()
    yard.enqueue()
    see_worker(yard)
    with sqlite.connecting() as connection:
        connection.execute(text("ALTER TABLE workers RENAME TO hidden"))
    thread = reconciler(yard, bell)
    thread.start()
    try:
        threading.Event().wait(3 * yard.settings.reconcile_seconds)
        assert bell.rung == 0
        with sqlite.connecting() as connection:
            connection.execute(text("ALTER TABLE hidden RENAME TO workers"))
        see_worker(yard)
        wait_for(lambda: bell.rung > 0)
    finally:
        thread.stop()
