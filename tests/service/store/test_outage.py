import errno
import shutil
import sqlite3
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import text
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from service.store.database import Database
from service.store.outage import is_away, is_full


def _failure(database: Database, *statements: str) -> SQLAlchemyError:
    """Return what the last of some statements fails with, in one writing transaction."""
    try:
        with database.writing() as session:
            for statement in statements:
                session.execute(text(statement))
    except SQLAlchemyError as error:
        return error
    pytest.fail(f"{statements} did not fail")


_TERMINATE = "SELECT pg_terminate_backend(pg_backend_pid())"


@pytest.mark.stack
@pytest.mark.parametrize(
    "statements",
    [
        (_TERMINATE,),  # as when PostgreSQL is stopped or restarted
        ("SET TRANSACTION READ ONLY", "DELETE FROM jobs"),  # as on a standby
        ("SET LOCAL statement_timeout = 1", "SELECT pg_sleep(10)"),
    ],
)
def test_a_postgresql_that_ends_refuses_or_is_too_slow_is_away(
    postgresql: Database, statements: tuple[str, ...]
) -> None:
    error = _failure(postgresql, *statements)
    assert is_away(error)
    assert not is_full(error)
    with postgresql.reading() as session:  # and the next transaction finds it back
        assert session.execute(text("SELECT 1")).scalar_one() == 1


@pytest.mark.stack
def test_a_session_that_is_used_on_after_the_connection_broke_is_away(
    postgresql: Database,
) -> None:
    with Session(postgresql.engine) as session:
        with pytest.raises(OperationalError):
            session.execute(text(_TERMINATE))
        with pytest.raises(PendingRollbackError) as caught:
            session.execute(text("SELECT 1"))
    assert is_away(caught.value)


def test_an_sqlite_that_others_lock_is_away(sqlite: Database) -> None:
    other = Database(sqlite.engine.url.render_as_string())
    with sqlite.engine.connect() as connection:
        connection.execute(text("PRAGMA busy_timeout = 1"))
    with other.writing() as session:
        session.execute(text("DELETE FROM jobs"))
        error = _failure(sqlite, "DELETE FROM jobs")
    other.close()
    assert "database is locked" in str(error)
    assert is_away(error)


def test_an_sqlite_that_takes_no_writes_is_away(sqlite: Database) -> None:
    with sqlite.engine.connect() as connection:
        connection.execute(text("PRAGMA query_only = ON"))
    error = _failure(sqlite, "DELETE FROM jobs")
    assert "attempt to write a readonly database" in str(error)
    assert is_away(error)


def test_an_sqlite_whose_folder_is_gone_is_away(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'gone' / 'slbi.sqlite3'}")
    shutil.rmtree(tmp_path / "gone")
    error = _failure(database, "SELECT 1")
    assert "unable to open database file" in str(error)
    assert is_away(error)


@pytest.mark.parametrize("state", ["57P01", "57P02", "57P03", "53300", "40P01", "08006", "58030"])
def test_what_postgresql_says_of_its_own_state_is_an_outage(state: str) -> None:
    assert is_away(_wrapped(errors.lookup(state)("so it is")))


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("SELECT 1", {}, sqlite3.OperationalError("disk I/O error")),
        InterfaceError("SELECT 1", {}, psycopg.InterfaceError("the connection is closed")),
        PoolTimeoutError("QueuePool limit reached"),
        DBAPIError("SELECT 1", {}, psycopg.Error("lost"), connection_invalidated=True),
    ],
)
def test_what_breaks_a_connection_or_keeps_none_free_is_an_outage(error: Exception) -> None:
    assert is_away(error)
    assert not is_full(error)


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE constraint failed")),
        ProgrammingError("SELEC", {}, psycopg.ProgrammingError("syntax error")),
        ValueError("a time must carry its zone"),
        RuntimeError("something else"),
    ],
)
def test_a_mistake_here_is_no_outage(error: Exception) -> None:
    assert not is_away(error)
    assert not is_full(error)


def test_want_of_room_is_found_behind_any_error() -> None:
    wrapped = RuntimeError("while writing")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert is_full(wrapped)
    assert is_full(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert is_full(_wrapped(errors.lookup("53100")("could not extend file")))


def test_an_sqlite_that_cannot_grow_is_full(sqlite: Database) -> None:
    with sqlite.engine.connect() as connection:
        connection.execute(text("PRAGMA max_page_count = 1"))  # not below what there is now
    error = _failure(
        sqlite, "CREATE TABLE big (data BLOB)", "INSERT INTO big VALUES (zeroblob(10000000))"
    )
    assert is_full(error)


def _wrapped(error: psycopg.Error) -> Exception:
    """Return a driver's error as SQLAlchemy passes it on."""
    return DBAPIError.instance("SELECT 1", {}, error, psycopg.Error)
