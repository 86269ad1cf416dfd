"""The database of a command that works on it directly."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.cli.exits import CommandError, ExitCode
from service.settings import Settings

if TYPE_CHECKING:
    from service.store.database import Database


@contextmanager
def opened(settings: Settings) -> Iterator["Database"]:
    """Give the database of the settings; close it at the end.

    Raises:
        CommandError: It does not answer, its address is none, or serving would expose it.
    """
    from sqlalchemy.exc import ArgumentError, DBAPIError

    from service.keys import ExposureError
    from service.store.database import Database

    try:
        database = Database(settings.database)
    except ArgumentError as error:  # whose text is about the address, which may hold a password
        message = "SLBI_DATABASE_URL must be an address such as postgresql+psycopg://user@host/name"
        raise CommandError(message, ExitCode.INVALID) from error
    try:
        yield database
    except DBAPIError as error:
        message = f"the database must answer, got: {error.orig}"
        raise CommandError(message, ExitCode.UNREACHABLE) from error
    except ExposureError as error:
        raise CommandError(str(error)) from error
    finally:
        database.close()
