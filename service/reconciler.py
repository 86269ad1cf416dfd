"""Looks after the jobs: ends attempts that fell silent, wakes workers while jobs wait."""

import threading
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service.queue import Queue
from service.settings import Settings
from service.store import claims, presence
from service.store.database import Database

_log = structlog.get_logger(__name__)


class Reconciler:
    """A thread that looks every `reconcile_seconds`. Any number may run on one database.

    Args:
        database: where the jobs are.
        queue: wakes workers.
        settings: how often, and what counts as silent.
    """

    def __init__(self, database: Database, queue: Queue, settings: Settings) -> None:
        self._database = database
        self._queue = queue
        self._settings = settings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slbi-reconciler", daemon=True)

    def start(self) -> None:
        """Begin to look; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping.set()
        self._thread.join()

    def reconcile(self) -> None:
        """Look once.

        Raises:
            SQLAlchemyError: the database is away.
        """
        now = datetime.now(UTC)
        max_attempts = self._settings.max_attempts
        with self._database.writing() as session:
            expired = claims.expire(session, now=now, max_attempts=max_attempts)
        for job_id in expired:
            _log.warning("lease_expired", job=str(job_id))
        heartbeat = timedelta(seconds=self._settings.heartbeat_seconds)
        with self._database.reading() as session:
            wanted = presence.wanted(session, now=now, heartbeat=heartbeat)
        for _ in range(wanted):
            self._queue.wake()

    def _run(self) -> None:
        while not self._stopping.wait(self._settings.reconcile_seconds):
            try:
                self.reconcile()
            except SQLAlchemyError as error:
                _log.warning("not_reconciled", error=str(error))
