"""Bring a database's schema up or down."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from migrations.revision import current, head
from service.store.database import Database

__all__ = ["current", "downgrade", "head", "upgrade"]

_LOCK = 0x51B1
"""Key of PostgreSQL's advisory lock: two processes that migrate at once take turns."""


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema up to a revision, in one transaction; up to date already does nothing."""
    _run(database, revision, up=True)


def downgrade(database: Database, revision: str) -> None:
    """Bring the schema down to a revision, in one transaction. `base` drops every table."""
    _run(database, revision, up=False)


def _config() -> Config:
    config = Config()
    folder = str(Path(__file__).parent).replace("%", "%%")  # the option is interpolated
    config.set_main_option("script_location", folder)
    return config


def _run(database: Database, revision: str, *, up: bool) -> None:
    config = _config()
    with database.connecting() as connection:  # SQLite: BEGIN IMMEDIATE, so writers take turns
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config.attributes["connection"] = connection
        (command.upgrade if up else command.downgrade)(config, revision)
