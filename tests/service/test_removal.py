import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.contract import FINAL_STATES, HELD_STATES, AttemptOutcome, JobState
from service.errors import FenceLostError
from service.removal import Removed, remove_unreferenced
from service.store import claims, recording
from service.store.database import Database
from service.store.ids import new_id
from service.store.tables import Artifact, Job, Model
from tests.service.running import NOON, store_job
from tests.service.shelf import Shelf

DAY = timedelta(days=1)
HOURS = timedelta(hours=1)


@pytest.fixture
def shelf(database: Database, tmp_path: Path) -> Shelf:
    return Shelf(database, tmp_path / "artifacts")


@pytest.fixture
def sqlite_shelf(sqlite: Database, tmp_path: Path) -> Shelf:
    """For what no database has a say in."""
    return Shelf(sqlite, tmp_path / "artifacts")


def remove(shelf: Shelf, now: datetime = NOON) -> Removed:
    return remove_unreferenced(shelf.database, shelf.root, now=now, stop=lambda: False)


@pytest.mark.parametrize("state", sorted(HELD_STATES))
def test_of_a_held_job_only_what_earlier_attempts_left_goes(shelf: Shelf, state: JobState) -> None:
    job_id = store_job(shelf.database, state=state, fence=2)
    left = shelf.file(job_id, 1)
    kept = [
        shelf.artifact(job_id, 1, "published"),
        shelf.checkpoint(job_id, 1),
        shelf.file(job_id, 2, "about to be published"),
    ]
    assert remove(shelf) == Removed(files=1, bytes=5)
    assert not left.exists()
    assert all(path.exists() for path in kept)


@pytest.mark.parametrize("state", sorted(set(JobState) - HELD_STATES))
def test_of_a_job_that_nobody_holds_all_goes_that_was_never_published(
    shelf: Shelf, state: JobState
) -> None:
    job_id = store_job(shelf.database, state=state, fence=2)
    left = [shelf.file(job_id, fence) for fence in (1, 2)]
    kept = [shelf.artifact(job_id, 2, "published"), shelf.checkpoint(job_id, 2)]
    begun_since = shelf.file(job_id, 3)
    assert remove(shelf) == Removed(files=2, bytes=10)
    assert not any(path.exists() for path in left)
    assert not (shelf.root / str(job_id) / "1").exists()
    assert all(path.exists() for path in [*kept, begun_since])


def test_the_folder_of_an_ended_job_goes_when_nothing_is_left_in_it(shelf: Shelf) -> None:
    for state in JobState:
        shelf.file(store_job(shelf.database, state=state, fence=1), 1)
    strange = store_job(shelf.database, state=JobState.FAILED, fence=1)
    (shelf.file(strange, 1).parents[1] / "notes").touch()
    remove(shelf)
    with shelf.database.reading() as session:
        left = {
            str(job_id)
            for job_id, state in session.execute(select(Job.id, Job.state))
            if state not in FINAL_STATES or job_id == strange
        }
    assert {path.name for path in shelf.root.iterdir()} == left


def test_the_file_of_an_artifact_goes_when_it_has_expired_and_the_job_has_ended(
    shelf: Shelf,
) -> None:
    ended = store_job(shelf.database, state=JobState.SUCCEEDED, fence=1, ended_at=NOON)
    retried = store_job(shelf.database, state=JobState.QUEUED, fence=1)
    expired = shelf.artifact(ended, 1, "expired", expires_at=NOON + DAY)
    kept = [
        shelf.artifact(ended, 1, "later", expires_at=NOON + 3 * DAY),
        shelf.artifact(ended, 1, "never"),
        shelf.artifact(retried, 1, expires_at=NOON + DAY),
    ]
    assert remove(shelf, NOON).files == 0
    assert remove(shelf, NOON + 2 * DAY).files == 1
    assert not expired.exists()
    assert all(path.exists() for path in kept)
    assert shelf.rows(Artifact) == 4


def test_a_folder_without_a_job_goes_when_nothing_has_changed_for_an_hour(shelf: Shelf) -> None:
    store_job(shelf.database)
    shelf.file(store_job(shelf.database, state=JobState.RUNNING, fence=1), 1)
    stray = shelf.file(new_id(), 1)
    os.utime(stray, (0, 0))  # as a restored backup has it
    assert remove(shelf, datetime.now(UTC) + 0.5 * HOURS).files == 0
    assert remove(shelf, datetime.now(UTC) + 2 * HOURS) == Removed(files=1, bytes=5)
    assert not stray.parents[1].exists()


def test_the_files_of_another_database_are_left_alone(shelf: Shelf) -> None:
    store_job(shelf.database)
    theirs = [shelf.file(new_id(), 1) for _ in range(3)]
    assert remove(shelf, datetime.now(UTC) + DAY).files == 0
    assert all(path.exists() for path in theirs)


def test_what_is_no_file_of_an_attempt_stays(sqlite_shelf: Shelf, tmp_path: Path) -> None:
    shelf = sqlite_shelf
    job_id = store_job(shelf.database, state=JobState.SUCCEEDED, fence=5)
    folder = shelf.file(job_id, 1).parents[1]
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").touch()
    (folder / "2").symlink_to(outside)
    (folder / "1" / "link").symlink_to(outside / "a")
    (folder / "3" / "folder").mkdir(parents=True)
    (shelf.root / "notes").touch()
    assert remove(shelf).files == 1
    assert {path.name for path in folder.iterdir()} == {"1", "2", "3"}
    assert (outside / "a").exists()
    assert (shelf.root / "notes").exists()


def test_without_a_directory_there_is_nothing_to_do(sqlite_shelf: Shelf) -> None:
    assert remove(sqlite_shelf) == Removed()


def test_many_jobs_are_gone_through_in_batches(sqlite_shelf: Shelf) -> None:
    shelf = sqlite_shelf
    shelf.file(store_job(shelf.database, state=JobState.RUNNING, fence=1), 1)
    jobs = [new_id() for _ in range(1200)]
    for job_id in jobs:
        shelf.file(job_id, 1)
    assert remove(shelf, datetime.now(UTC) + 2 * HOURS).files == 1200
    assert len(list(shelf.root.iterdir())) == 1


class Meanwhile(Database):
    """A database before whose first answer something happens: after the files were listed."""

    def __init__(self, shelf: Shelf, happens: Callable[[], object]) -> None:
        super().__init__(shelf.database.engine.url.render_as_string(hide_password=False))
        self._happens = [happens]

    @contextmanager
    def reading(self) -> Iterator[Session]:
        while self._happens:
            self._happens.pop()()
        with super().reading() as session:
            yield session


def remove_while(shelf: Shelf, happens: Callable[[], object]) -> Removed:
    database = Meanwhile(shelf, happens)
    try:
        return remove_unreferenced(database, shelf.root, now=NOON, stop=lambda: False)
    finally:
        database.close()


def test_a_file_that_cannot_be_removed_does_not_keep_the_others(sqlite_shelf: Shelf) -> None:
    shelf = sqlite_shelf
    jobs = [store_job(shelf.database, state=JobState.FAILED, fence=1) for _ in range(3)]
    stuck, gone, other = (shelf.file(job_id, 1) for job_id in jobs)

    def happens() -> None:
        gone.unlink()
        stuck.unlink()
        stuck.mkdir()

    assert remove_while(shelf, happens).files == 1
    assert stuck.is_dir()
    assert not other.exists()


def test_what_is_published_after_the_listing_stays(shelf: Shelf) -> None:
    job_id = store_job(shelf.database)
    attempts = Attempts(shelf, job_id, rounds=3)
    fence = attempts._claim()
    path = shelf.file(job_id, fence)
    shelf.file(job_id, fence, "left")

    def happens() -> None:
        attempts._publish(path, fence)
        attempts._finish(fence, AttemptOutcome.PREEMPTED)
        attempts.run()
        attempts._claim()

    assert remove_while(shelf, happens) == Removed(files=1, bytes=5)
    assert path.exists()


class Attempts(threading.Thread):
    """Claims one job over and over, publishes a file each time, and loses it or lets it end."""

    def __init__(self, shelf: Shelf, job_id: uuid.UUID, rounds: int) -> None:
        super().__init__()
        self._shelf = shelf
        self._job_id = job_id
        self._rounds = rounds

    def run(self) -> None:
        for number in range(self._rounds):
            fence = self._claim()
            path = self._shelf.file(self._job_id, fence, "published")
            self._publish(path, fence)
            self._shelf.file(self._job_id, fence, "left")
            self._finish(fence, (AttemptOutcome.CANCELLED, AttemptOutcome.PREEMPTED)[number % 2])

    def _finish(self, fence: int, outcome: AttemptOutcome) -> None:
        with self._shelf.database.writing() as session:
            claims.finish(
                session,
                job_id=self._job_id,
                fence=fence,
                outcome=outcome,
                reason=None,
                now=NOON,
                max_attempts=3,
            )

    def _claim(self) -> int:
        claim = None
        while claim is None:
            with self._shelf.database.writing() as session:
                session.execute(
                    update(Job)
                    .where(Job.id == self._job_id, Job.state == JobState.CANCELLED)
                    .values(state=JobState.QUEUED)
                )
            with self._shelf.database.writing() as session:
                claim = claims.claim(
                    session,
                    worker_id=uuid.UUID(int=1),
                    host="here",
                    device="cpu",
                    pid=1,
                    now=NOON,
                    lease=DAY,
                )
        return claim.fence

    def _publish(self, path: Path, fence: int) -> None:
        artifact = Artifact(
            id=new_id(),
            job_id=self._job_id,
            fence=fence,
            kind="checkpoint",
            format="safetensors",
            storage_key=path.relative_to(self._shelf.root).as_posix(),
            sha256="0" * 64,
            bytes=5,
            published_at=NOON,
        )
        model = Model(
            id=new_id(),
            job_id=self._job_id,
            position=0,
            step=1,
            round=0,
            kind="grown",
            origin="round 0",
            widths={},
            params=1,
            macs=1,
            validation_accuracy=0.5,
            artifact_id=artifact.id,
        )
        with self._shelf.database.writing() as session:
            recording.publish(
                session, job_id=self._job_id, fence=fence, row=model, artifact=artifact, now=NOON
            )


def test_while_attempts_come_and_go_no_published_file_is_ever_missing(shelf: Shelf) -> None:
    job_id = store_job(shelf.database)
    attempts = Attempts(shelf, job_id, rounds=40)
    sweeping = threading.Event()

    def sweep() -> None:
        while not sweeping.is_set():
            remove(shelf)

    sweepers = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in [attempts, *sweepers]:
        thread.start()
    attempts.join()
    sweeping.set()
    for thread in sweepers:
        thread.join()
    remove(shelf)
    with shelf.database.reading() as session:
        published = set(session.scalars(select(Artifact.storage_key)))
    assert len(published) == 40
    there = {path.relative_to(shelf.root).as_posix() for path in shelf.root.glob("*/*/*")}
    assert there == published


def test_a_stale_attempt_can_publish_nothing_once_its_files_may_go(shelf: Shelf) -> None:
    job_id = store_job(shelf.database)
    attempt = Attempts(shelf, job_id, rounds=1)
    fence = attempt._claim()
    path = shelf.file(job_id, fence, "late")
    with shelf.database.writing() as session:
        claims.expire(session, now=NOON + 2 * DAY, max_attempts=3)
    assert remove(shelf).files == 1
    with pytest.raises(FenceLostError):
        attempt._publish(path, fence)
