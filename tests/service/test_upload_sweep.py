from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.contract import LOCAL_OWNER, JobState
from service.settings import Settings
from service.store.database import Database
from service.store.ids import new_id
from service.store.tables import Upload
from service.store.uploads import storage_key
from service.sweeper import Sweeper, Swept
from tests.service.running import NOON, store_job
from tests.service.shelf import Shelf

HOUR = timedelta(hours=1)


class UploadShelf(Shelf):
    """A shelf with uploads on it."""

    def upload(self, *, expires_at: datetime) -> Path:
        """Keep a file."""
        upload_id = new_id()
        path = self.stray(f"{upload_id}.safetensors")
        row = Upload(
            id=upload_id,
            owner=LOCAL_OWNER,
            sha256="0" * 64,
            bytes=5,
            storage_key=storage_key(upload_id),
            created_at=NOON,
            expires_at=expires_at,
        )
        with self.database.writing() as session:
            session.add(row)
        return path

    def stray(self, name: str) -> Path:
        """Write a file without a row."""
        path = self.root / "uploads" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
        return path


@pytest.fixture
def shelf(database: Database, settings: Settings) -> UploadShelf:
    return UploadShelf(database, settings.artifacts)


def sweep(shelf: UploadShelf, settings: Settings, after: timedelta) -> Swept:
    return Sweeper(shelf.database, settings).sweep(datetime.now(UTC) + after)


def test_an_upload_goes_when_its_time_is_over_row_and_file(
    shelf: UploadShelf, settings: Settings
) -> None:
    now = datetime.now(UTC)
    over, kept = shelf.upload(expires_at=now + HOUR), shelf.upload(expires_at=now + 3 * HOUR)
    assert sweep(shelf, settings, -HOUR).uploads == 0
    swept = sweep(shelf, settings, 2 * HOUR)
    assert (swept.uploads, swept.files, swept.bytes) == (1, 1, 5)
    assert (over.exists(), kept.exists()) == (False, True)
    assert shelf.rows(Upload) == 1


def test_what_a_killed_upload_left_goes_after_an_hour(
    shelf: UploadShelf, settings: Settings
) -> None:
    kept = shelf.upload(expires_at=datetime.now(UTC) + 10 * HOUR)
    partial, whole = (
        shelf.stray(f".{new_id()}.partial"),
        shelf.stray(f"{new_id()}.safetensors"),
    )
    assert sweep(shelf, settings, 0.9 * HOUR).files == 0
    assert partial.exists()
    assert whole.exists()
    assert sweep(shelf, settings, 1.1 * HOUR).files == 2
    assert list(kept.parent.iterdir()) == [kept]


def test_uploads_that_another_database_knows_stay(shelf: UploadShelf, settings: Settings) -> None:
    partial, whole = (
        shelf.stray(f".{new_id()}.partial"),
        shelf.stray(f"{new_id()}.safetensors"),
    )
    assert sweep(shelf, settings, 2 * HOUR).files == 1
    assert not partial.exists()
    assert whole.exists()


def test_what_is_no_file_of_an_upload_stays(shelf: UploadShelf, settings: Settings) -> None:
    kept = shelf.upload(expires_at=datetime.now(UTC) + 10 * HOUR)
    names = ("notes.txt", "x.safetensors", f"{new_id()}.bin", f"{new_id()}.partial", ".partial")
    strangers = [shelf.stray(name) for name in names]
    link = kept.parent / f"{new_id()}.safetensors"
    link.symlink_to(kept)
    (kept.parent / f".{new_id()}.partial").mkdir()
    assert sweep(shelf, settings, 2 * HOUR).files == 0
    assert all(path.exists() for path in [*strangers, link, kept])


def test_files_of_jobs_and_uploads_are_swept_apart(shelf: UploadShelf, settings: Settings) -> None:
    kept = shelf.upload(expires_at=datetime.now(UTC) + 10 * HOUR)
    job_id = store_job(shelf.database, state=JobState.SUCCEEDED, fence=1, ended_at=NOON)
    published, loose = shelf.artifact(job_id, 1), shelf.file(job_id, 1, "left")
    assert sweep(shelf, settings, timedelta()).files == 1
    assert (kept.exists(), published.exists(), loose.exists()) == (True, True, False)
