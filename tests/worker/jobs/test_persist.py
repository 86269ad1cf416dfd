import threading
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from service.store.database import Database
from worker.jobs.persist import persist


def touch(session: Session) -> int:
    return len(session.execute(text("SELECT id FROM workers")).all())


def rename(database: Database, old: str, new: str) -> None:
    with database.connecting() as connection:
        connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


def test_a_write_outlasts_an_outage(sqlite: Database) -> None:
    rename(sqlite, "workers", "hidden")
    back = threading.Timer(0.5, rename, (sqlite, "hidden", "workers"))
    back.start()
    begun = time.monotonic()
    assert persist(sqlite, touch, give_up=lambda: False) == 0
    assert time.monotonic() - begun >= 0.4
    back.join()


def test_a_write_is_given_up_when_that_is_wanted(sqlite: Database) -> None:
    rename(sqlite, "workers", "hidden")
    with pytest.raises(OperationalError):
        persist(sqlite, touch, give_up=lambda: True)


def test_a_write_that_is_wrong_is_not_tried_again(sqlite: Database) -> None:
    tries = []

    def write(session: Session) -> None:
        tries.append(1)
        session.execute(text("INSERT INTO workers (id) VALUES ('x')"))

    with pytest.raises(IntegrityError):
        persist(sqlite, write, give_up=lambda: False)
    assert len(tries) == 1
