"""Databases of their own for the faults: a file, or a fresh one on a PostgreSQL server."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from bench.faults.fault import NotRunError
from service.store.database import Database

POSTGRES = os.environ.get("SLBI_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432")
"""A PostgreSQL server whose user may create databases; the tests read the same variable."""

Databases = Callable[[Path], AbstractContextManager[Database]]
"""Makes a database without tables; the folder is for its file, if it is one."""


@contextmanager
def sqlite(folder: Path) -> Iterator[Database]:
    """Give a database without tables, in a file of a folder."""
    database = Database(f"sqlite:///{folder / 'slbi.sqlite3'}")
    try:
        yield database
    finally:
        database.close()


@contextmanager
def postgresql(server: str = POSTGRES) -> Iterator[Database]:
    """Give a database without tables on a server, and drop it in the end.

    Raises:
        NotRunError: the server does not answer.
    """
    address = make_url(server)
    name = f"slbi_faults_{secrets.token_hex(6)}"
    maintenance = create_engine(
        address.set(database="postgres"),
        isolation_level="AUTOCOMMIT",
        connect_args={"connect_timeout": 5},
        poolclass=NullPool,  # between two uses the server may have been started anew
    )
    try:
        with maintenance.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError as error:
        raise NotRunError(f"PostgreSQL must answer at SLBI_TEST_POSTGRES: {error}") from error
    database = Database(address.set(database=name).render_as_string(hide_password=False))
    try:
        yield database
    finally:
        database.close()
        with maintenance.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
