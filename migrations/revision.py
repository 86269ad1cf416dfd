"""Which revision the code needs, and which one a database is at: asked often, without Alembic."""

from sqlalchemy import inspect, text

from service.store.database import Database

HEAD = "0005"
"""The newest revision."""


def head() -> str:
    """Return the newest revision there is."""
    return HEAD


def current(database: Database) -> str | None:
    """Return the revision a database is at, None for one that was never migrated."""
    with database.engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found
