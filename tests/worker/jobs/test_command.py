from pathlib import Path

import pytest

from worker.jobs.command import run


@pytest.mark.parametrize(
    ("database", "told"),
    [
        ("sqlite:///{folder}/empty.sqlite3", "slbi migrate"),
        ("postgresql+psycopg://nobody@127.0.0.1:9/none", "must answer"),
    ],
)
def test_a_worker_refuses_a_database_that_it_cannot_work_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    database: str,
    told: str,
) -> None:
    monkeypatch.setenv("SLBI_DATABASE_URL", database.format(folder=tmp_path))
    monkeypatch.setenv("SLBI_BROKER_URL", "redis://127.0.0.1:9/0")
    assert run([]) == 1
    assert told in capsys.readouterr().err
