"""What every test folder shares: a migrated, empty database, on SQLite and on PostgreSQL."""

import os
import secrets
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from starlette.exceptions import StarletteDeprecationWarning

from migrations.run import upgrade
from service.store.database import Database
from service.store.tables import Base

with warnings.catch_warnings():
    # Starlette wants another client library for its tests than the one that this project uses.
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    import fastapi.testclient

    assert fastapi.testclient.TestClient is not None

# A deadline would time a test, and these machines are noisy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

POSTGRES = os.environ.get("SLBI_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432")
"""A PostgreSQL server whose user may create databases."""


def _absent(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """Address of a fresh, empty PostgreSQL database of this session."""
    server = create_engine(
        make_url(POSTGRES).set(database="postgres"),
        isolation_level="AUTOCOMMIT",
        connect_args={"connect_timeout": 5},
    )
    name = f"slbi_test_{secrets.token_hex(6)}"
    try:
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError as error:
        _absent(f"PostgreSQL must answer at SLBI_TEST_POSTGRES: {error}")
    yield make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_url: str) -> Iterator[Database]:
    """The PostgreSQL database of this session at the newest revision."""
    database = Database(postgresql_url)
    upgrade(database)
    yield database
    database.close()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file at the newest revision, to be copied."""
    path = tmp_path_factory.mktemp("template") / "slbi.sqlite3"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    database.close()
    return path


@pytest.fixture
def sqlite(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Database]:
    """A migrated, empty SQLite database."""
    path = tmp_path / "database" / "slbi.sqlite3"
    path.parent.mkdir()
    shutil.copy(migrated_sqlite, path)
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def postgresql(migrated_postgresql: Database) -> Database:
    """A migrated, empty PostgreSQL database."""
    with migrated_postgresql.connecting() as connection:
        for table in reversed(Base.metadata.sorted_tables):  # much faster than TRUNCATE
            connection.execute(table.delete())
    return migrated_postgresql


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.stack)])
def database(request: pytest.FixtureRequest) -> Database:
    """A migrated, empty database of either kind; its address: `database.engine.url`."""
    database: Database = request.getfixturevalue(request.param)
    return database
