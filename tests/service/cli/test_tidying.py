import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from migrations.run import downgrade, upgrade
from service.cli.exits import CommandError
from service.cli.tidying import tidy
from service.contract import JobState
from service.settings import Settings
from service.store.database import Database
from tests.service.running import store_job
from tests.service.shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """The files of the embedded service in `tmp_path`."""
    settings = Settings(home=tmp_path)
    database = Database(settings.database)
    upgrade(database)
    return Shelf(database, settings.artifacts)


def test_a_pass_on_demand_says_what_it_removed(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    job_id = store_job(shelf.database, state=JobState.SUCCEEDED, fence=1, ended_at=now)
    gone, kept = shelf.checkpoint(job_id, 1), shelf.artifact(job_id, 1)
    tidy(home=tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "files": 1,
        "bytes": 5,
        "checkpoints": 1,
        "uploads": 0,
        "workers": 0,
        "idempotency_keys": 0,
    }
    assert not gone.exists()
    assert kept.exists()
    tidy(home=tmp_path)
    assert "0 files" in capsys.readouterr().out


def test_a_database_of_another_revision_is_not_swept_by(shelf: Shelf, tmp_path: Path) -> None:
    path = shelf.file(store_job(shelf.database, state=JobState.FAILED, fence=1), 1)
    downgrade(shelf.database, "0001")
    with pytest.raises(CommandError, match="slbi migrate"):
        tidy(home=tmp_path)
    assert path.exists()
