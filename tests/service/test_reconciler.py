import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from service.contract import JobState
from service.reconciler import Reconciler
from service.store import claims, presence
from service.store.database import Database
from service.store.ids import new_id
from service.store.jobs import request_cancel
from service.store.tables import Job, PathStep, Sweep, Trial
from tests.yard import Yard, wait_for

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=30)
GIGABYTE = 10**9


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


def look(yard: Yard, bell: Bell) -> None:
    reconciler(yard, bell).reconcile(datetime.now(UTC))


def claim(yard: Yard, now: datetime = NOON) -> None:
    with yard.database.writing() as session:
        claims.claim(
            session,
            worker_id=new_id(),
            host="here",
            device="cpu",
            pid=1,
            now=now,
            lease=LEASE,
        )


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
    look(yard, bell)
    assert bell.rung == 0  # nobody could begin
    for expected in (1, 2, 2):
        see_worker(yard)
        bell.rung = 0
        look(yard, bell)
        assert bell.rung == expected


def test_nobody_is_woken_for_nothing(yard: Yard) -> None:
    bell = Bell()
    see_worker(yard)
    look(yard, bell)
    assert bell.rung == 0


def test_the_thread_requeues_a_job_whose_worker_fell_silent(yard: Yard) -> None:
    job_id = yard.enqueue()
    claim(yard)
    thread = reconciler(yard, Bell())
    thread.start()
    try:
        wait_for(lambda: yard.state(job_id) == JobState.QUEUED)
    finally:
        thread.stop()
    assert yard.outcomes(job_id) == ["lost"]


@contextmanager
def outage(database: Database) -> Iterator[None]:
    """Let every question about jobs fail."""
    with database.connecting() as connection:
        connection.execute(text("ALTER TABLE jobs RENAME TO hidden"))
    yield
    with database.connecting() as connection:
        connection.execute(text("ALTER TABLE hidden RENAME TO jobs"))


@pytest.fixture
def leased(sqlite: Database, tmp_path: Path) -> Yard:
    """A yard whose leases are 30 s, with one job that is held until NOON + 30 s."""
    yard = Yard(sqlite, tmp_path)
    yard.settings = yard.settings.model_copy(update={"lease_seconds": LEASE.total_seconds()})
    yard.enqueue()
    claim(yard)
    return yard


def test_after_an_outage_no_attempt_is_lost_until_all_could_renew_their_leases(
    leased: Yard,
) -> None:
    watch, job_id = reconciler(leased, Bell()), leased.only_job()
    with outage(leased.database):
        for seconds in (10, 60):
            with pytest.raises(SQLAlchemyError):
                watch.reconcile(NOON + timedelta(seconds=seconds))
    back = NOON + timedelta(seconds=70)
    for seconds in (0, 10, 29):
        watch.reconcile(back + timedelta(seconds=seconds))
        assert leased.state(job_id) == JobState.RUNNING
    watch.reconcile(back + LEASE)
    assert leased.outcomes(job_id) == ["lost"]


def test_each_outage_is_followed_by_a_grace_of_its_own(leased: Yard) -> None:
    watch, job_id = reconciler(leased, Bell()), leased.only_job()
    for minute in (1, 2, 3):
        with outage(leased.database), pytest.raises(SQLAlchemyError):
            watch.reconcile(NOON + timedelta(minutes=minute))
        watch.reconcile(NOON + timedelta(minutes=minute, seconds=40))
    assert leased.state(job_id) == JobState.RUNNING
    watch.reconcile(NOON + timedelta(minutes=3, seconds=70))
    assert leased.state(job_id) == JobState.QUEUED


def test_a_worker_that_renewed_after_the_outage_keeps_its_job(leased: Yard) -> None:
    watch, job_id = reconciler(leased, Bell()), leased.only_job()
    with outage(leased.database), pytest.raises(SQLAlchemyError):
        watch.reconcile(NOON + 2 * LEASE)
    watch.reconcile(NOON + 3 * LEASE)
    with leased.database.writing() as session:
        now = NOON + 3.5 * LEASE
        claims.renew(session, job_id=job_id, fence=1, now=now, lease=LEASE)
    watch.reconcile(NOON + 4.2 * LEASE)
    assert leased.state(job_id) == JobState.RUNNING


def test_at_its_start_a_reconciler_spares_no_lease(leased: Yard) -> None:
    reconciler(leased, Bell()).reconcile(NOON + 2 * LEASE)
    assert leased.outcomes(leased.only_job()) == ["lost"]


def pause_for_room(yard: Yard, needed: int | None) -> uuid.UUID:
    job_id = yard.enqueue()
    with yard.database.writing() as session:
        job = session.get_one(Job, job_id)
        job.state, job.space_needed, job.error = JobState.PAUSED, needed, "There was no room."
    return job_id


class Disk:
    """Answers how much is free, and does something first."""

    def __init__(self, free: int, first: Callable[[], object] = lambda: None) -> None:
        self.free = free
        self.first = first
        self.asked: list[Path] = []

    def __call__(self, directory: Path) -> int:
        self.asked.append(directory)
        self.first()
        return self.free


def test_a_job_goes_on_when_there_is_room_for_it_and_the_reserve(yard: Yard) -> None:
    bell, reserve = Bell(), yard.settings.min_free_bytes
    small, large = pause_for_room(yard, GIGABYTE), pause_for_room(yard, 2 * GIGABYTE)
    see_worker(yard)
    disk = Disk(GIGABYTE + reserve - 1)
    watch = Reconciler(yard.database, bell, yard.settings, free=disk)
    watch.reconcile(datetime.now(UTC))
    assert yard.state(small) == JobState.PAUSED
    assert bell.rung == 0
    disk.free += 1
    watch.reconcile(datetime.now(UTC))
    assert (yard.state(small), yard.state(large)) == (JobState.QUEUED, JobState.PAUSED)
    assert yard.happened(small) == ["resumed"]
    assert (yard.job(small).space_needed, yard.job(small).error) == (None, None)
    assert bell.rung == 1
    assert set(disk.asked) == {yard.settings.artifacts}


def test_a_job_that_somebody_paused_waits_for_that_somebody(yard: Yard) -> None:
    job_id = pause_for_room(yard, None)
    disk = Disk(10 * GIGABYTE)
    Reconciler(yard.database, Bell(), yard.settings, free=disk).reconcile(NOON)
    assert yard.state(job_id) == JobState.PAUSED
    assert disk.asked == []


def test_a_job_that_is_cancelled_while_the_disk_is_asked_stays_cancelled(yard: Yard) -> None:
    job_id = pause_for_room(yard, GIGABYTE)

    def cancel() -> None:
        with yard.database.writing() as session:
            request_cancel(session, session.get_one(Job, job_id), NOON)

    disk = Disk(10 * GIGABYTE, cancel)
    Reconciler(yard.database, Bell(), yard.settings, free=disk).reconcile(NOON)
    assert yard.state(job_id) == JobState.CANCELLED


def test_a_job_that_somebody_holds_locked_is_left_for_the_next_look(
    postgresql: Database, tmp_path: Path
) -> None:
    yard = Yard(postgresql, tmp_path)
    job_id = pause_for_room(yard, GIGABYTE)
    watch = Reconciler(postgresql, Bell(), yard.settings, free=Disk(10 * GIGABYTE))
    with postgresql.writing() as session:
        job = session.scalars(select(Job).where(Job.id == job_id).with_for_update()).one()
        watch.reconcile(NOON)
        request_cancel(session, job, NOON)
    watch.reconcile(NOON)
    assert yard.state(job_id) == JobState.CANCELLED


def test_a_disk_that_does_not_answer_keeps_nothing_else_from_being_done(yard: Yard) -> None:
    def fail() -> None:
        raise OSError("gone")

    bell = Bell()
    job_id = pause_for_room(yard, GIGABYTE)
    yard.enqueue()
    see_worker(yard)
    watch = Reconciler(yard.database, bell, yard.settings, free=Disk(0, fail))
    watch.reconcile(datetime.now(UTC))
    assert yard.state(job_id) == JobState.PAUSED
    assert bell.rung == 1


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


def test_a_sweep_that_has_taken_all_it_may_is_stopped_by_the_next_look(yard: Yard) -> None:
    now = datetime.now(UTC)
    job_id = yard.enqueue()
    sweep = Sweep(
        id=new_id(), owner=new_id(), strategy="grid", factor=3, min_epochs=1,
        max_training_macs=1, created_at=now,
    )  # fmt: skip
    with yard.database.writing() as session:
        session.add(sweep)
        session.flush()
        session.add(
            Trial(job_id=job_id, sweep_id=sweep.id, position=0, settings={}, images=1, rungs={})
        )
    look(yard, Bell())
    assert yard.job(job_id).state == JobState.QUEUED  # nothing was taken yet
    with yard.database.writing() as session:
        session.add(
            PathStep(
                job_id=job_id, step=1, fence=0, epoch=1, round=0, phase="grow", loss=1.0,
                train_accuracy=0.5, validation_accuracy=0.5, learning_rate=0.1, params=1, macs=1,
                seconds=1.0,
            )
        )  # fmt: skip
    look(yard, Bell())
    assert yard.job(job_id).state == JobState.CANCELLED
