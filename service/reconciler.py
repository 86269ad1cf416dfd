"""Looks after the jobs: ends attempts that fell silent, wakes workers while jobs wait."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service.queue import Queue
from service.racing import race
from service.settings import Settings
from service.store import claims, presence, room
from service.store.database import Database
from service.store.files import free_bytes

_log = structlog.get_logger(__name__)


class Reconciler:
    """A thread that looks every `reconcile_seconds`. Any number may run on one database.

    Args:
        database: where the jobs are.
        queue: wakes workers.
        settings: how often, and what counts as silent.
        free: how many bytes are free on the disk of a directory.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        settings: Settings,
        *,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._database = database
        self._queue = queue
        self._settings = settings
        self._free = free
        self._away = False
        """Whether the database did not answer the last time."""
        self._spared_until = datetime.min.replace(tzinfo=UTC)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slbi-reconciler", daemon=True)

    def start(self) -> None:
        """Begin to look; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping.set()
        self._thread.join()

    def reconcile(self, now: datetime) -> None:
        """Look once.

        While the database is away, workers cannot renew their leases either. So after an outage no
        attempt is called lost until one lease has passed in which all could.

        Raises:
            SQLAlchemyError: the database is away.
        """
        try:
            self._look(now)
        except SQLAlchemyError:
            self._away = True
            raise
        if self._away:
            self._away = False
            self._spared_until = now + timedelta(seconds=self._settings.lease_seconds)
            _log.info("database_is_back", leases_spared_until=self._spared_until.isoformat())

    def _look(self, now: datetime) -> None:
        if not self._away and now >= self._spared_until:
            self._expire(now)
        for job_id in self._let_go_on(now):
            _log.info("job_has_room_again", job=str(job_id))
        for stop in race(self._database, now):
            _log.info("job_stopped_by_sweep", job=str(stop.job_id), reason=stop.reason)
        heartbeat = timedelta(seconds=self._settings.heartbeat_seconds)
        with self._database.reading() as session:
            wanted = presence.wanted(session, now=now, heartbeat=heartbeat)
        for _ in range(wanted):
            self._queue.wake()

    def _expire(self, now: datetime) -> None:
        max_attempts = self._settings.max_attempts
        with self._database.writing() as session:
            expired = claims.expire(session, now=now, max_attempts=max_attempts)
        for job_id in expired:
            _log.warning("lease_expired", job=str(job_id))

    def _let_go_on(self, now: datetime) -> Sequence[UUID]:
        """Resume the jobs that were paused for want of room, where there is enough again."""
        with self._database.reading() as session:
            if not room.awaited(session):
                return []
        try:
            free = self._free(self._settings.artifacts) - self._settings.min_free_bytes
        except OSError as error:
            _log.warning("room_not_known", error=str(error))
            return []
        with self._database.writing() as session:
            return room.let_go_on(session, free=free, now=now)

    def _run(self) -> None:
        while not self._stopping.wait(self._settings.reconcile_seconds):
            try:
                self.reconcile(datetime.now(UTC))
            except SQLAlchemyError as error:
                _log.warning("not_reconciled", error=str(error))
