import json
import uuid
from pathlib import Path

import pytest

from migrations.run import upgrade
from service.cli.exits import CommandError, ExitCode
from service.cli.keys import create, list_, revoke
from service.settings import Settings
from service.store.database import Database


@pytest.fixture
def home(tmp_path: Path) -> Path:
    database = Database(Settings(home=tmp_path).database)
    upgrade(database)
    database.close()
    return tmp_path


def _listed(home: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str | None]]:
    list_(home=home, as_json=True)
    listed: list[dict[str, str | None]] = json.loads(capsys.readouterr().out)
    return listed


def test_a_key_is_shown_once_and_its_secret_is_not_in_the_list(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create("laptop", home=home, as_json=True)
    made = json.loads(capsys.readouterr().out)
    (listed,) = _listed(home, capsys)
    assert listed["name"] == "laptop"
    assert made["key"].startswith(listed["prefix"])
    assert made["key"] not in json.dumps(listed)
    assert made["key"].encode() not in (home / "slbi.sqlite3").read_bytes()


def test_a_revoked_key_says_when_and_cannot_be_revoked_again(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create("laptop", home=home, as_json=True)
    made = json.loads(capsys.readouterr().out)
    revoke(uuid.UUID(made["id"]), home=home)
    capsys.readouterr()
    (listed,) = _listed(home, capsys)
    assert listed["revoked_at"] is not None
    with pytest.raises(CommandError, match="No active key") as refused:
        revoke(uuid.UUID(made["id"]), home=home)
    assert refused.value.code == ExitCode.NOT_FOUND


def test_a_revocation_speaks_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create("laptop", home=home, as_json=True)
    key_id = json.loads(capsys.readouterr().out)["id"]
    revoke(uuid.UUID(key_id), home=home, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"id": key_id, "revoked": True}


def test_a_database_without_tables_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="slbi serve"):
        create("laptop", home=tmp_path)
