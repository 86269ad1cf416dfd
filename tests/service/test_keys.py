import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from service.errors import NotFoundError, UnauthenticatedError
from service.keys import (
    ExposureError,
    check_exposure,
    create_key,
    list_keys,
    recognise,
    revoke_key,
)
from service.settings import Settings
from service.store.database import Database
from service.store.ids import new_id

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def test_a_key_is_32_random_bytes_of_which_only_the_hash_is_kept(database: Database) -> None:
    _, secret = create_key(database, "first")
    assert re.fullmatch(r"slbi_[A-Za-z0-9_-]{43}", secret)
    (stored,) = list_keys(database)
    assert stored.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert secret.startswith(stored.prefix)
    assert len(stored.prefix) < 16
    assert secret not in {str(value) for value in vars(stored).values()}


def test_a_key_is_recognised_until_it_is_revoked(database: Database) -> None:
    key_id, secret = create_key(database, "first")
    other_id, other = create_key(database, "second")
    assert recognise(database, secret, NOON) == key_id

    revoke_key(database, key_id)
    with pytest.raises(UnauthenticatedError):
        recognise(database, secret, NOON)
    assert recognise(database, other, NOON) == other_id


def test_use_of_a_key_is_noted_at_most_once_a_minute(database: Database) -> None:
    _, secret = create_key(database, "first")
    times = [NOON, NOON + timedelta(seconds=59), NOON + timedelta(seconds=61)]
    noted = []
    for now in times:
        recognise(database, secret, now)
        noted.append(list_keys(database)[0].last_used_at)
    assert noted == [times[0], times[0], times[2]]


def test_a_key_is_recognised_where_its_use_cannot_be_noted(sqlite: Database) -> None:
    key_id, secret = create_key(sqlite, "first")
    with sqlite.engine.connect() as connection:
        connection.execute(text("PRAGMA query_only = ON"))
    assert recognise(sqlite, secret, NOON) == key_id
    assert list_keys(sqlite)[0].last_used_at is None


def test_only_an_active_key_can_be_revoked(database: Database) -> None:
    key_id, _ = create_key(database, "first")
    revoke_key(database, key_id)
    for missing in (key_id, new_id()):
        with pytest.raises(NotFoundError, match=str(missing)):
            revoke_key(database, missing)


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_key_has_a_name_of_bearable_length(sqlite: Database, name: str) -> None:
    with pytest.raises(ValueError, match="1 to 200"):
        create_key(sqlite, name)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "grow.example"])  # noqa: S104 - the case
def test_an_open_address_is_served_only_with_a_key(
    database: Database, tmp_path: Path, host: str
) -> None:
    settings = Settings(home=tmp_path, host=host)
    with pytest.raises(ExposureError, match="slbi keys create"):
        check_exposure(settings, database)
    key_id, _ = create_key(database, "first")
    check_exposure(settings, database)
    revoke_key(database, key_id)
    with pytest.raises(ExposureError):
        check_exposure(settings, database)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_loopback_address_needs_no_key(sqlite: Database, tmp_path: Path, host: str) -> None:
    check_exposure(Settings(home=tmp_path, host=host), sqlite)
