"""Sweeps out what nobody needs any more: files, and rows that are kept for a time only."""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service.removal import remove_unreferenced
from service.settings import Settings
from service.store import retention
from service.store.database import Database
from service.upload_sweep import remove_expired, remove_strays

FORGOTTEN_AFTER = timedelta(days=30)
"""Age at which workers, by their last heartbeat, and idempotency keys go. Source: docs/jobs.md."""

_BATCH = 500
"""Jobs or rows a transaction: little to hold in memory, and nothing is locked for long."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """What one pass removed."""

    files: int
    bytes: int
    checkpoints: int
    """Rows; their files are counted among `files`."""
    uploads: int
    """Rows; their files are counted among `files`."""
    workers: int
    idempotency_keys: int


class Sweeper:
    """A thread that sweeps at its start and every `sweep_seconds`. Any number may run at once.

    Rows go first, in transactions of their own, then the files to which no row refers any more.

    Args:
        database: where the jobs are.
        settings: where the files are, and how long what is kept.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slbi-sweeper", daemon=True)

    def start(self) -> None:
        """Begin to sweep; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the batch it is at, and wait for it."""
        self._stopping.set()
        self._thread.join()

    def sweep(self, now: datetime) -> Swept:
        """Make one pass and return what it removed. Files that cannot be removed are logged.

        Raises:
            SQLAlchemyError: the database is away.
            OSError: the directory of the files cannot be read.
        """
        settings, old = self._settings, now - FORGOTTEN_AFTER
        self._until_done(retention.end_expiry)
        if settings.artifact_days is not None:
            keep = timedelta(days=settings.artifact_days)
            self._until_done(partial(retention.begin_expiry, keep=keep))
        ended = now - timedelta(days=settings.checkpoint_days)
        checkpoints = self._until_done(partial(retention.forget_checkpoints, before=ended))
        workers = self._until_done(partial(retention.forget_workers, before=old))
        keys = self._until_done(partial(retention.forget_idempotency_keys, before=old))
        place, when = (self._database, settings.artifacts), self._stopping.is_set
        removed = remove_unreferenced(*place, now=now, stop=when)
        uploads = remove_expired(*place, removed, now=now, stop=when)
        remove_strays(*place, removed, now=now, stop=when)
        return Swept(
            files=removed.files,
            bytes=removed.bytes,
            checkpoints=checkpoints,
            uploads=uploads,
            workers=workers,
            idempotency_keys=keys,
        )

    def _until_done(self, change: Callable[..., int]) -> int:
        """Change rows, a transaction a batch, until there are none; return how many there were."""
        rows = 0
        while not self._stopping.is_set():
            with self._database.writing() as session:
                changed = change(session, limit=_BATCH)
            if changed == 0:
                break
            rows += changed
        return rows

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                swept = self.sweep(datetime.now(UTC))
            except (SQLAlchemyError, OSError) as error:
                _log.warning("not_swept", error=str(error))
            else:
                if any(asdict(swept).values()):
                    _log.info("swept", **asdict(swept))
            self._stopping.wait(self._settings.sweep_seconds)
