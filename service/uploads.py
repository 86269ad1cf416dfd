"""Files that clients send: taken in pieces, checked, kept for a time, listed, removed.

A file is written beside its name, synced, checked, renamed, its folder synced; then its row is
committed. A kill in between leaves a file without a row, which the sweeper removes.
"""

import hashlib
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from service import tensors
from service.errors import ConflictError, GoneError, InvalidRequestError, NotFoundError
from service.store import uploads
from service.store.database import Database
from service.store.ids import new_id
from service.store.needs import users_of_upload
from service.store.outage import is_away, is_full
from service.store.tables import Upload


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadPage:
    """Some uploads, newest first, and behind which one the next page begins."""

    uploads: Sequence[Upload]
    last: uuid.UUID | None
    """None if there are no more."""


class Incoming:
    """A file that is on its way. Whoever makes one closes it, whatever happens.

    Args:
        artifacts: directory of all files; made if it is not there.

    Raises:
        OSError: it cannot be written there.
    """

    def __init__(self, artifacts: Path) -> None:
        self.id = new_id()
        self.bytes = 0
        self._sha256 = hashlib.sha256()
        self._target = artifacts / uploads.storage_key(self.id)
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._partial = self._target.with_name(f".{self.id}.partial")
        # Without a buffer: one that a full disk refused would be written again when it is closed.
        self._file = self._partial.open("xb", buffering=0)

    def write(self, piece: bytes) -> None:
        """Add what came next, in place."""
        left = memoryview(piece)
        while left:
            left = left[self._file.write(left) :]
        self._sha256.update(piece)
        self.bytes += len(piece)

    def keep(
        self, database: Database, *, owner: uuid.UUID, name: str | None, keep: timedelta
    ) -> Upload:
        """Make the file, which has come whole, an upload.

        Args:
            database: where its row goes.
            owner: whose it is.
            name: what the client calls it.
            keep: for how long.

        Raises:
            InvalidRequestError: it is no sound safetensors file.
        """
        os.fsync(self._file.fileno())
        try:
            tensors.check(self._partial)
        except ValueError as error:
            told = f"The body must be a sound safetensors file: {error}."
            raise InvalidRequestError(told) from error
        now = datetime.now(UTC)
        row = Upload(
            id=self.id,
            owner=owner,
            name=name,
            sha256=self._sha256.hexdigest(),
            bytes=self.bytes,
            storage_key=uploads.storage_key(self.id),
            created_at=now,
            expires_at=now + keep,
        )
        self._partial.replace(self._target)
        try:
            _sync_folder(self._target.parent)
            with database.writing() as session:
                session.add(row)
        except (SQLAlchemyError, OSError) as error:
            # Where only the answer to the commit was lost, the row is there and needs its file.
            if is_full(error) or not is_away(error):
                self._target.unlink(missing_ok=True)
            raise
        return row

    def close(self) -> None:
        """Leave nothing behind of what was not kept."""
        self._file.close()
        self._partial.unlink(missing_ok=True)


def find(database: Database, owner: uuid.UUID, upload_id: uuid.UUID) -> Upload:
    """Return an upload.

    Raises:
        NotFoundError: this owner has none of this id.
        GoneError: its time is over.
    """
    with database.reading() as session:
        found = uploads.find_upload(session, owner, upload_id)
        kept = uploads.find_kept(session, owner, upload_id, datetime.now(UTC))
        session.expunge_all()
    if found is None:
        raise _missing(upload_id)
    if kept is None:
        raise GoneError(f"Upload {upload_id} was kept until {found.expires_at.isoformat()}.")
    return found


def page(
    database: Database, owner: uuid.UUID, *, before: uuid.UUID | None, limit: int
) -> UploadPage:
    """Return the newest uploads that are older than `before`."""
    with database.reading() as session:
        now = datetime.now(UTC)
        found = uploads.page_of_uploads(session, owner, now=now, before=before, limit=limit + 1)
        session.expunge_all()
    shown = found[:limit]
    return UploadPage(uploads=shown, last=shown[-1].id if len(found) > limit else None)


def remove(database: Database, artifacts: Path, owner: uuid.UUID, upload_id: uuid.UUID) -> None:
    """Remove an upload: its row, then its file.

    Raises:
        NotFoundError: this owner has none of this id.
        ConflictError: a job that has not ended starts from it.
    """
    with database.writing() as session:
        row = uploads.lock_upload(session, owner, upload_id)
        if row is None:
            raise _missing(upload_id)
        if users := users_of_upload(session, upload_id):
            told = ", ".join(str(job_id) for job_id in users)
            raise ConflictError(f"Upload {upload_id} must stay until job {told} has ended.")
        session.delete(row)
    (artifacts / row.storage_key).unlink(missing_ok=True)


def _missing(upload_id: uuid.UUID) -> NotFoundError:
    return NotFoundError(f"No upload has id {upload_id}.")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
