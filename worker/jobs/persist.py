"""Writing through an outage of the database: what is worth keeping is tried again."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service import failpoints
from service.store.database import Database
from service.store.outage import is_away

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0

T = TypeVar("T")

_log = structlog.get_logger(__name__)


def persist(
    database: Database,
    write: Callable[[Session], T],
    *,
    give_up: Callable[[], bool],
    flow: str | None = None,
) -> T:
    """Do `write` in one transaction; while the database is away, again and again.

    Args:
        database: where.
        write: may be called again after a commit whose answer was lost, and must do no harm then.
        give_up: asked after each failure; True raises it.
        flow: whose failpoints lie around the commit.

    Raises:
        SQLAlchemyError: the database is away, and `give_up` said so; or the write is wrong.
        FenceLostError: from `write`.
    """
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            with database.writing() as session:
                written = write(session)
                if flow is not None:
                    failpoints.hit(f"{flow}.commit.before")
        except SQLAlchemyError as error:
            if not is_away(error) or give_up():
                raise
            _log.warning("database_away", error=str(error), pause_s=pause_s)
        else:
            if flow is not None:
                failpoints.hit(f"{flow}.commit.after")
            return written
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
