"""Which errors mean that the database is away, or that there is no room, and not a mistake here."""

import errno

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

_READ_ONLY = "25006"
"""PostgreSQL's `read_only_sql_transaction`: what answers is a standby, or one that recovers."""

_DISK_FULL = "53100"
"""PostgreSQL's `disk_full`."""


def is_away(error: BaseException) -> bool:
    """Return whether trying again later is right.

    It is if the database cannot be reached, shuts down, starts or recovers, has broken off the
    connection, is locked by others for too long, takes no writes, or cannot read or write its
    files.
    """
    if isinstance(error, PendingRollbackError | PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return (
        isinstance(error, OperationalError | InterfaceError)
        or error.connection_invalidated
        or getattr(error.orig, "sqlstate", None) == _READ_ONLY
    )


def is_full(error: BaseException | None) -> bool:
    """Return whether a disk without room is behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if isinstance(error, DBAPIError):
            code = getattr(error.orig, "sqlite_errorname", None)
            if code == "SQLITE_FULL" or getattr(error.orig, "sqlstate", None) == _DISK_FULL:
                return True
        error = error.__cause__
    return False
