from pathlib import Path

import pytest

from service.contract import JobState
from service.store import files
from service.store.database import Database
from service.store.ids import new_id
from tests.service.running import store_job
from tests.service.shelf import Shelf


@pytest.fixture
def shelf(database: Database, tmp_path: Path) -> Shelf:
    return Shelf(database, tmp_path / "artifacts")


def test_only_files_of_earlier_fences_that_nobody_refers_to_are_found(shelf: Shelf) -> None:
    job_id = store_job(shelf.database, state=JobState.RUNNING, fence=3)
    loose = {shelf.file(job_id, 1), shelf.file(job_id, 2, ".run.partial")}
    shelf.artifact(job_id, 1, "published")
    shelf.checkpoint(job_id, 2, "kept")
    shelf.file(job_id, 3, "about to be published")
    with shelf.database.reading() as session:
        found = files.unreferenced(session, shelf.root, job_id, below=3)
    assert set(found) == loose


def test_a_job_without_a_folder_has_no_files(shelf: Shelf) -> None:
    with shelf.database.reading() as session:
        assert files.unreferenced(session, shelf.root, new_id(), below=3) == []
    assert list(files.list_jobs(shelf.root)) == []


def test_what_is_no_file_of_an_attempt_is_never_listed(sqlite: Database, tmp_path: Path) -> None:
    shelf, job_id = Shelf(sqlite, tmp_path / "artifacts"), new_id()
    kept = shelf.file(job_id, 12)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "1").mkdir(parents=True)
    (elsewhere / "1" / "mine").touch()
    folder = shelf.root / str(job_id)
    for strange in ("notes", "012", "-1", "٣", "1.5"):
        (folder / strange).mkdir()
        (folder / strange / "a").touch()
    (folder / "7").touch()
    (folder / "12" / "folder").mkdir()
    (folder / "12" / "folder" / "a").touch()
    (folder / "12" / "link").symlink_to(kept)
    (folder / "13").symlink_to(elsewhere / "1")
    (shelf.root / str(new_id())).symlink_to(elsewhere)
    for strange in ("models", str(new_id()).upper(), str(new_id()).replace("-", "")):
        (shelf.root / strange / "1").mkdir(parents=True)
        (shelf.root / strange / "1" / "a").touch()
    (shelf.root / str(new_id())).touch()
    assert list(files.list_jobs(shelf.root)) == [job_id]
    assert [shelf.root / file.key for file in files.list_files(shelf.root, job_id).files] == [kept]


def test_room_is_asked_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert files.free_bytes(tmp_path / "not" / "there") > 0
