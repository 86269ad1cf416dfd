"""Whether the service can do its work now: what it needs is asked, one thing after the other."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from migrations.revision import current, head
from service.queue import Queue
from service.settings import Settings
from service.store.database import Database
from service.store.files import free_bytes
from service.store.workers import count_alive, last_heartbeat


def checks(database: Database, queue: Queue, settings: Settings) -> Mapping[str, str | None]:
    """Return what was asked -> what is wrong with it, None if nothing is."""
    asked: Mapping[str, Callable[[], str | None]] = {
        "database": lambda: _database(database),
        "migrations": lambda: _migrations(database),
        "workers": lambda: _workers(database, timedelta(seconds=settings.lease_seconds)),
    }
    found: dict[str, str | None] = {}
    for name, ask in asked.items():
        try:
            found[name] = ask()
        except SQLAlchemyError as error:
            found[name] = f"the database must answer, got {type(error).__name__}"
    found["disk"] = _disk(settings.artifacts, settings.min_free_bytes)
    found["broker"] = None if queue.ping() else "the broker must answer, it does not"
    return found


def _database(database: Database) -> None:
    with database.reading() as session:
        session.connection()


def _migrations(database: Database) -> str | None:
    found = current(database)
    if found == head():
        return None
    return f"the schema must be at revision {head()}, got {found}; run: slbi migrate"


def _workers(database: Database, lease: timedelta) -> str | None:
    with database.reading() as session:
        if count_alive(session, datetime.now(UTC), lease):
            return None
        last = last_heartbeat(session)
    heard = "never" if last is None else last.isoformat()
    return f"a worker must be heard of within {lease.total_seconds():g} s, the last was {heard}"


def _disk(directory: Path, needed: int) -> str | None:
    free = free_bytes(directory)
    if free >= needed:
        return None
    return f"{needed} bytes must be free where checkpoints are kept, got {free}"
