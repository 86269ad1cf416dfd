"""Every revision up and down, and up with rows of the version before."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, MetaData, insert, inspect, select

import migrations
from bench.faults.databases import Databases
from bench.faults.fault import Finding, Scope, Try
from migrations.run import current, downgrade, head, upgrade
from service.contract import JobState
from service.store.database import Database
from service.store.tables import Base

ROWS = 3
"""Rows that are stored in every table of a version."""

Content = Mapping[str, Sequence[Mapping[str, Any]]]
"""Table -> its rows, column -> value."""


def migrating(databases: Databases) -> Try:
    """Return what takes a database of every revision, with rows, up, down, and up to the newest."""

    def run(scope: Scope, finding: Finding) -> None:
        known = revisions()
        for revision, following in zip(known, [*known[1:], None], strict=True):
            folder = scope.folder / revision
            folder.mkdir()
            with databases(folder) as database:
                told = _take(database, revision, following)
            finding.done += 1
            finding.violations += [f"revision {revision}: {sentence}" for sentence in told]

    return run


def revisions() -> list[str]:
    """Return every revision, the oldest first."""
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    return [found.revision for found in reversed(list(script.walk_revisions()))]


def _take(database: Database, revision: str, following: str | None) -> list[str]:
    """Take a database from one revision to the next, back, to the newest and to none."""
    upgrade(database, revision)
    fill(database)
    before, told = content(database), []
    if following is not None:
        upgrade(database, following)
        told += changed("up by one", before, content(database))
        downgrade(database, revision)
        told += changed("down again", before, content(database))
    upgrade(database)
    told += changed("up to the newest", before, content(database))
    told += _unlike_the_code(database)
    downgrade(database, "base")
    left = set(inspect(database.engine).get_table_names()) - {"alembic_version"}
    if left or current(database) is not None:
        told.append(f"no table may be left at the base, got {sorted(left)}")
    upgrade(database)
    return told + _unlike_the_code(database)


def fill(database: Database) -> None:
    """Store rows in every table of whatever version a database is, in place."""
    with database.connecting() as connection:
        tables = MetaData()
        tables.reflect(connection)
        for table in tables.sorted_tables:
            if table.name != "alembic_version":
                rows = [
                    {column.name: _value(column, number) for column in table.columns}
                    for number in range(ROWS)
                ]
                connection.execute(insert(table), rows)


def content(database: Database) -> Content:
    """Return all rows of a database, whatever its version."""
    with database.engine.connect() as connection:
        tables = MetaData()
        tables.reflect(connection)
        return {
            table.name: [
                dict(row)
                for row in connection.execute(
                    select(table).order_by(*table.primary_key.columns)
                ).mappings()
            ]
            for table in tables.sorted_tables
            if table.name != "alembic_version"
        }


def changed(step: str, before: Content, after: Content) -> list[str]:
    """Return what a step has lost or altered of the tables and columns that both versions have."""
    told = []
    for name, rows in before.items():
        kept = after.get(name, [])
        shared = set(rows[0]) & set(kept[0]) if rows and kept else set()
        if _of(rows, shared) != _of(kept, shared) or (rows and not shared):
            told.append(f"{step} must keep the rows of {name}, it did not")
    return told


def _of(rows: Sequence[Mapping[str, Any]], names: AbstractSet[str]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in sorted(names)} for row in rows]


def _unlike_the_code(database: Database) -> list[str]:
    """Return where the newest revision is not what the code says the tables are."""
    told = []
    if current(database) != head():
        told.append(f"the newest revision must be {head()}, got {current(database)}")
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        told += [f"alembic check: {found}" for found in compare_metadata(context, Base.metadata)]
    return told


_VALUES: Mapping[type, Callable[[int], Any]] = {
    uuid.UUID: lambda number: uuid.UUID(int=number + 1),
    bool: lambda number: number % 2 == 0,
    int: lambda number: number + 1,
    float: lambda number: number + 0.5,
    bytes: lambda number: bytes([number]),
    object: lambda number: {"number": number},  # what SQLAlchemy says of JSON
    datetime: lambda number: datetime(2026, 1, number + 1, tzinfo=UTC),
}
"""Of a type, the value of each row: the same in every table, so that rows refer to each other."""


def _value(column: Column[Any], number: int) -> Any:  # noqa: ANN401 - of the column's type
    kind = column.type.python_type
    if kind is not str:
        return _VALUES[kind](number)
    if column.name == "state":
        return JobState.QUEUED.value
    if str(column.type) == "CHAR(32)":
        return uuid.UUID(int=number + 1).hex  # SQLite has no type of its own for it
    return f"text {number}"
