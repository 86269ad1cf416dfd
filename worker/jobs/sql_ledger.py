"""The ledger of a job's checkpoints: rows in SQL, entered under the attempt's fence."""

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from service.store import checkpoints
from service.store.database import Database
from service.store.ids import new_id
from service.store.tables import Checkpoint
from worker.jobs.persist import persist
from worker.training.keeper import Entry, Point


class SqlLedger:
    """A `Ledger` of one attempt. Each call is one transaction.

    Args:
        database: where.
        job_id: the job that is held.
        fence: the fence under which it is held.
        artifacts: directory of all files of all jobs.
        give_up: asked while the database is away; True lets the error through.
    """

    def __init__(
        self,
        database: Database,
        *,
        job_id: uuid.UUID,
        fence: int,
        artifacts: Path,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._job_id = job_id
        self._fence = fence
        self._artifacts = artifacts
        self._give_up = give_up

    def enter(self, entry: Entry) -> Sequence[Path]:
        """Let a checkpoint count, and only one more of those before.

        Raises:
            FenceLostError: the job is not held any more; nothing was written.
        """
        row_id, now, point = new_id(), datetime.now(UTC), entry.point
        key = entry.path.relative_to(self._artifacts).as_posix()
        old = persist(
            self._database,
            lambda session: checkpoints.keep(
                session,
                job_id=self._job_id,
                fence=self._fence,
                row=Checkpoint(
                    id=row_id,
                    job_id=self._job_id,
                    fence=self._fence,
                    step=point.step,
                    epoch=point.epoch,
                    round=point.round,
                    recorded_step=point.recorded_step,
                    models=point.models,
                    storage_key=key,
                    sha256=entry.sha256,
                    bytes=entry.bytes,
                    created_at=now,
                ),
            ),
            flow="checkpoint",
            give_up=self._give_up,
        )
        return [self._artifacts / each for each in old]

    def entries(self) -> Sequence[Entry]:
        """Return those that count, newest first."""
        return [
            Entry(
                path=self._artifacts / row.storage_key,
                sha256=row.sha256,
                bytes=row.bytes,
                point=Point(
                    step=row.step,
                    epoch=row.epoch,
                    round=row.round,
                    recorded_step=row.recorded_step,
                    models=row.models,
                ),
            )
            for row in self._rows()
        ]

    def rewind(self, to: Entry | None, damaged: Sequence[Entry]) -> None:
        """Delete what the job recorded beyond a checkpoint; None deletes everything.

        Args:
            to: from where the attempt goes on.
            damaged: newer ones that could not be read; they count no more.

        Raises:
            FenceLostError: the job is not held any more; nothing was written.
        """
        ids = {self._artifacts / row.storage_key: row.id for row in self._rows()}
        persist(
            self._database,
            lambda session: checkpoints.rewind(
                session,
                job_id=self._job_id,
                fence=self._fence,
                to=None if to is None else ids[to.path],
                damaged=[entry.point.step for entry in damaged],
                now=datetime.now(UTC),
            ),
            give_up=self._give_up,
        )

    def _rows(self) -> Sequence[Checkpoint]:
        # In a writing transaction for `persist`, which waits out a database that is away.
        return persist(
            self._database,
            lambda session: checkpoints.newest(session, self._job_id),
            give_up=self._give_up,
        )
