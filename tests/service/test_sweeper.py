import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from service.contract import JobState
from service.settings import Settings
from service.store import presence, retention
from service.store.database import Database
from service.store.ids import new_id
from service.store.jobs import retry
from service.store.tables import Artifact, Job, Worker
from service.sweeper import Sweeper, Swept
from tests.service.running import NOON, store_job
from tests.service.shelf import Shelf
from tests.yard import wait_for

DAY = timedelta(days=1)
NOTHING = Swept(files=0, bytes=0, checkpoints=0, uploads=0, workers=0, idempotency_keys=0)


@pytest.fixture
def shelf(database: Database, settings: Settings) -> Shelf:
    return Shelf(database, settings.artifacts)


def sweep(shelf: Shelf, settings: Settings, now: datetime = NOON) -> Swept:
    return Sweeper(shelf.database, settings).sweep(now)


def expires_at(shelf: Shelf) -> datetime | None:
    with shelf.database.reading() as session:
        return session.scalars(select(Artifact.expires_at)).one()


def test_an_empty_service_has_nothing_to_sweep(shelf: Shelf, settings: Settings) -> None:
    assert sweep(shelf, settings) == NOTHING


def test_one_pass_removes_whatever_is_not_needed_any_more(shelf: Shelf, settings: Settings) -> None:
    done = store_job(shelf.database, state=JobState.SUCCEEDED, fence=1, ended_at=NOON)
    failed = store_job(shelf.database, state=JobState.FAILED, fence=1, ended_at=NOON - 8 * DAY)
    lately = store_job(shelf.database, state=JobState.FAILED, fence=1, ended_at=NOON - 6 * DAY)
    kept = [shelf.artifact(done, 1), shelf.checkpoint(lately, 1)]
    gone = [shelf.checkpoint(done, 1), shelf.checkpoint(failed, 1), shelf.file(done, 1, "left")]
    with shelf.database.writing() as session:
        beat: dict[str, Any] = {"host": "here", "pid": 1, "device": "cpu", "job_id": None}
        presence.beat(session, worker_id=new_id(), now=NOON - 31 * DAY, **beat)
    swept = sweep(shelf, settings)
    assert swept == Swept(
        files=3, bytes=15, checkpoints=2, uploads=0, workers=1, idempotency_keys=0
    )
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)
    assert shelf.rows(Worker) == 0
    assert sweep(shelf, settings) == NOTHING


def test_files_whose_rows_went_before_a_crash_are_found_by_the_next_pass(
    shelf: Shelf, settings: Settings
) -> None:
    path = shelf.checkpoint(store_job(shelf.database, state=JobState.SUCCEEDED, fence=1), 1)
    with shelf.database.writing() as session:
        retention.forget_checkpoints(session, before=NOON, limit=10)
    assert path.exists()
    swept = sweep(shelf, settings)
    assert (swept.checkpoints, swept.files) == (0, 1)
    assert not path.exists()


def test_artifacts_are_kept_for_ever_unless_told_otherwise(
    shelf: Shelf, settings: Settings
) -> None:
    job_id = store_job(shelf.database, state=JobState.SUCCEEDED, fence=1, ended_at=NOON)
    path = shelf.artifact(job_id, 1)
    assert sweep(shelf, settings, NOON + 10_000 * DAY).files == 0
    assert path.exists()


def test_artifacts_of_a_retried_job_are_kept_until_it_has_ended_again(
    shelf: Shelf, settings: Settings
) -> None:
    settings = settings.model_copy(update={"artifact_days": 2.0})
    job_id = store_job(shelf.database, state=JobState.FAILED, fence=1, ended_at=NOON)
    path = shelf.artifact(job_id, 1)
    assert sweep(shelf, settings, NOON).files == 0
    assert expires_at(shelf) == NOON + 2 * DAY
    with shelf.database.writing() as session:
        retry(session, session.get_one(Job, job_id), NOON + DAY)
    assert sweep(shelf, settings, NOON + 9 * DAY).files == 0
    assert expires_at(shelf) is None
    with shelf.database.writing() as session:
        job = session.get_one(Job, job_id)
        job.state, job.ended_at = JobState.SUCCEEDED, NOON + 9 * DAY
    assert sweep(shelf, settings, NOON + 10 * DAY).files == 0
    assert path.exists()
    assert sweep(shelf, settings, NOON + 11 * DAY).files == 1
    assert not path.exists()
    assert shelf.rows(Artifact) == 1


def test_several_at_once_do_no_harm_and_count_each_thing_once(
    shelf: Shelf, settings: Settings
) -> None:
    kept = []
    for _ in range(40):
        job_id = store_job(shelf.database, state=JobState.SUCCEEDED, fence=1, ended_at=NOON)
        kept.append(shelf.artifact(job_id, 1))
        shelf.checkpoint(job_id, 1)
    swept: list[Swept] = []
    threads = [
        threading.Thread(target=lambda: swept.append(sweep(shelf, settings))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each.checkpoints for each in swept) == 40
    assert sum(each.files for each in swept) == 40
    assert all(path.exists() for path in kept)


def test_the_thread_sweeps_at_its_start_and_again_after_an_outage(
    sqlite: Database, settings: Settings
) -> None:
    shelf = Shelf(sqlite, settings.artifacts)
    path = shelf.file(store_job(sqlite, state=JobState.FAILED, fence=1), 1)
    sweeper = Sweeper(sqlite, settings.model_copy(update={"sweep_seconds": 0.1}))
    sweeper.start()
    try:
        wait_for(lambda: not path.exists())
        with sqlite.connecting() as connection:
            connection.execute(text("ALTER TABLE jobs RENAME TO hidden"))
        threading.Event().wait(0.5)
        with sqlite.connecting() as connection:
            connection.execute(text("ALTER TABLE hidden RENAME TO jobs"))
        again = shelf.file(store_job(sqlite, state=JobState.FAILED, fence=1), 1)
        wait_for(lambda: not again.exists())
    finally:
        sweeper.stop()


def test_a_stopped_sweeper_does_not_wait_for_its_next_pass(
    sqlite: Database, settings: Settings
) -> None:
    sweeper = Sweeper(sqlite, settings)
    sweeper.start()
    begun = datetime.now(UTC)
    sweeper.stop()
    assert datetime.now(UTC) - begun < timedelta(seconds=5)


def test_a_directory_that_is_none_does_not_end_the_thread(
    sqlite: Database, settings: Settings
) -> None:
    settings.artifacts.parent.mkdir(parents=True)
    settings.artifacts.touch()
    shelf = Shelf(sqlite, settings.artifacts)
    sweeper = Sweeper(sqlite, settings.model_copy(update={"sweep_seconds": 0.1}))
    sweeper.start()
    try:
        threading.Event().wait(0.3)
        settings.artifacts.unlink()
        path = shelf.file(store_job(sqlite, state=JobState.FAILED, fence=1), 1)
        wait_for(lambda: not path.exists())
    finally:
        sweeper.stop()
