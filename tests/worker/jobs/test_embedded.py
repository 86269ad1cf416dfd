import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from service.contract import JobState
from service.queue import CeleryQueue
from service.settings import Settings
from service.store import claims, presence
from service.store.ids import new_id
from tests.yard import Yard, alive, wait_for
from worker.jobs import embedded
from worker.jobs.worker import Worker

OBEDIENT = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\nready()\ntime.sleep(60)"


def patient(yard: Yard) -> Settings:
    """Settings under which a worker does not look for jobs by itself once it has started."""
    return yard.settings.model_copy(update={"poll_seconds": 3600.0})


@pytest.fixture
def working() -> Iterator[list[Worker]]:
    """Workers put here are stopped at the end."""
    workers: list[Worker] = []
    yield workers
    for worker in workers:
        worker.stop()


def start(working: list[Worker], settings: Settings, yard: Yard, body: str) -> Worker:
    worker = Worker(settings, yard.database, command=yard.command(body))
    working.append(worker)
    worker.start()
    wait_for(lambda: yard.workers() != [])
    return worker


def test_a_message_wakes_the_worker_at_once(sqlite_yard: Yard, working: list[Worker]) -> None:
    settings = patient(sqlite_yard)
    start(working, settings, sqlite_yard, "ready()\nsucceed()")
    time.sleep(0.5)  # its first look of its own is over
    job_id = sqlite_yard.enqueue()
    queue = CeleryQueue(settings.broker_url)
    queue.wake()
    took_s = wait_for(lambda: sqlite_yard.state(job_id) != JobState.QUEUED)
    assert took_s < 3
    wait_for(lambda: sqlite_yard.state(job_id) == JobState.SUCCEEDED)


def test_needless_messages_do_no_harm(sqlite_yard: Yard, working: list[Worker]) -> None:
    start(working, patient(sqlite_yard), sqlite_yard, "ready()\nsucceed()")
    job_id = sqlite_yard.enqueue()
    queue = CeleryQueue("memory://")
    for _ in range(5):
        queue.wake()
    wait_for(lambda: sqlite_yard.state(job_id) == JobState.SUCCEEDED)
    time.sleep(0.5)
    assert sqlite_yard.outcomes(job_id) == ["succeeded"]


def test_a_job_is_found_without_any_message(sqlite_yard: Yard, working: list[Worker]) -> None:
    start(working, sqlite_yard.settings, sqlite_yard, "ready()\nsucceed()")
    job_id = sqlite_yard.enqueue()
    wait_for(lambda: sqlite_yard.state(job_id) == JobState.SUCCEEDED)


def test_a_job_left_by_an_earlier_process_is_found_at_the_start(
    sqlite_yard: Yard, working: list[Worker]
) -> None:
    job_id = sqlite_yard.enqueue()
    start(working, patient(sqlite_yard), sqlite_yard, "ready()\nsucceed()")
    wait_for(lambda: sqlite_yard.state(job_id) == JobState.SUCCEEDED)


def test_stopping_hands_the_job_back_and_leaves_nothing_running(sqlite_yard: Yard) -> None:
    yard = sqlite_yard
    job_id = yard.enqueue()
    worker = Worker(yard.settings, yard.database, command=yard.command(OBEDIENT))
    before = set(threading.enumerate())
    worker.start()
    child = yard.ready(job_id)
    begun = time.monotonic()
    worker.stop()
    assert time.monotonic() - begun < 10
    assert not alive(child)
    assert yard.outcomes(job_id) == ["preempted"]
    assert yard.state(job_id) == JobState.QUEUED
    (row,) = yard.workers()
    assert row.stopped_at is not None
    assert row.job_id is None
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith("slbi-")}


def test_a_worker_tells_that_it_lives_while_it_works(
    sqlite_yard: Yard, working: list[Worker]
) -> None:
    job_id = sqlite_yard.enqueue()
    start(working, sqlite_yard.settings, sqlite_yard, OBEDIENT)
    sqlite_yard.ready(job_id)
    (before,) = sqlite_yard.workers()
    assert before.job_id == job_id
    assert before.device == "cpu"
    wait_for(lambda: sqlite_yard.workers()[0].heartbeat_at > before.heartbeat_at)


def test_a_worker_survives_an_outage_of_the_database(
    sqlite_yard: Yard, working: list[Worker]
) -> None:
    yard = sqlite_yard
    start(working, yard.settings, yard, "ready()\nsucceed()")
    with yard.database.connecting() as connection:
        connection.execute(text("ALTER TABLE jobs RENAME TO hidden"))
    time.sleep(3 * yard.settings.poll_seconds)
    with yard.database.connecting() as connection:
        connection.execute(text("ALTER TABLE hidden RENAME TO jobs"))
    job_id = yard.enqueue()
    wait_for(lambda: yard.state(job_id) == JobState.SUCCEEDED)


def claim(yard: Yard, worker_id: uuid.UUID) -> None:
    now = datetime.now(UTC)
    with yard.database.writing() as session:
        me: dict[str, Any] = {"worker_id": worker_id, "host": "here", "device": "cpu", "pid": 1}
        assert claims.claim(session, **me, now=now, lease=timedelta(hours=1))
        presence.beat(session, **me, job_id=None, now=now)


def test_the_worker_of_a_home_is_the_same_after_every_start(tmp_path: Path) -> None:
    first = embedded.identity(tmp_path)
    assert embedded.identity(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == [embedded.IDENTITY]


@pytest.mark.parametrize("damage", [b"", b"seven", b"\xff\x00", b"0" * 31])
def test_a_damaged_identity_is_replaced(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / embedded.IDENTITY).write_bytes(damage)
    made = embedded.identity(tmp_path)
    assert embedded.identity(tmp_path) == made


def test_a_start_takes_up_at_once_what_the_process_before_left(yard: Yard) -> None:
    job_id = yard.enqueue()
    worker_id = embedded.identity(yard.settings.home)
    claim(yard, worker_id)
    embedded.release(yard.settings, yard.database, worker_id)
    assert yard.outcomes(job_id) == ["lost"]
    assert yard.state(job_id) == JobState.QUEUED
    (row,) = yard.workers()
    assert row.stopped_at is not None


def test_a_start_leaves_what_other_workers_hold(yard: Yard) -> None:
    job_id = yard.enqueue()
    claim(yard, new_id())
    embedded.release(yard.settings, yard.database, embedded.identity(yard.settings.home))
    assert yard.state(job_id) == JobState.RUNNING


def test_the_started_worker_bears_the_identity_of_its_home(
    sqlite_yard: Yard, working: list[Worker]
) -> None:
    home = sqlite_yard.settings.home
    for _ in range(2):
        worker = embedded.start(sqlite_yard.settings, sqlite_yard.database)
        working.append(worker)
        assert worker.id == embedded.identity(home)
        wait_for(lambda: [row.stopped_at for row in sqlite_yard.workers()] == [None])
        working.pop().stop()
    (row,) = sqlite_yard.workers()
    assert row.id == embedded.identity(home)


def test_a_worker_without_a_home_is_another_each_time(sqlite_yard: Yard) -> None:
    settings, database = sqlite_yard.settings, sqlite_yard.database
    assert Worker(settings, database).id != Worker(settings, database).id
