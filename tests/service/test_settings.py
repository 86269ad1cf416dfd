from pathlib import Path

import pytest

from service.settings import Settings


def test_another_process_reads_the_same_settings_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = Settings(
        home=tmp_path,
        database_url="sqlite:///here.sqlite3",
        broker_url="redis://127.0.0.1:6379/3",
        data_dirs=(Path("/one"), Path("/two")),
        port=1234,
        log_format="json",
        heartbeat_seconds=0.25,
        max_attempts=7,
    )
    for name, value in given.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == given


def test_what_is_not_set_is_not_passed_on(tmp_path: Path) -> None:
    environment = Settings(home=tmp_path).environment()
    assert "SLBI_DATABASE_URL" not in environment
    assert environment["SLBI_DATA_DIRS"] == ""
