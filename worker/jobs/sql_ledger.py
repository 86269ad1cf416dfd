"""The ledger of a job's checkpoints: rows in SQL, entered under the attempt's fence."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from service.store import checkpoints
from service.store.ids import new_id
from service.store.tables import Checkpoint
from worker.jobs.held import Held
from worker.training.keeper import Entry, Point


class SqlLedger:
    """A `Ledger` of one attempt. Each call is one transaction.

    Args:
        held: what the attempt holds.
    """

    def __init__(self, held: Held) -> None:
        self._held = held

    def enter(self, entry: Entry) -> Sequence[Path]:
        """Let a checkpoint count, and only one more of those before.

        Raises:
            FenceLostError: the job is not held any more; nothing was written.
        """
        row_id, now, point = new_id(), datetime.now(UTC), entry.point
        key = entry.path.relative_to(self._held.artifacts).as_posix()
        old = self._held.write(
            lambda session: checkpoints.keep(
                session,
                **self._held.claim,
                row=Checkpoint(
                    id=row_id,
                    **self._held.claim,
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
        )
        return [self._held.artifacts / each for each in old]

    def entries(self) -> Sequence[Entry]:
        """Return those that count, newest first."""
        return [
            Entry(
                path=self._held.artifacts / row.storage_key,
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
        ids = {self._held.artifacts / row.storage_key: row.id for row in self._rows()}
        self._held.write(
            lambda session: checkpoints.rewind(
                session,
                **self._held.claim,
                to=None if to is None else ids[to.path],
                damaged=[entry.point.step for entry in damaged],
                now=datetime.now(UTC),
            )
        )

    def _rows(self) -> Sequence[Checkpoint]:
        # In a writing transaction for `write`, which waits out a database that is away.
        return self._held.write(lambda session: checkpoints.newest(session, self._held.job_id))
