"""Removes the files of attempts to which nobody refers, and the folders that this leaves empty.

Why no file goes that is about to be published. The files are listed first; then the job is read,
and after it what its rows refer to. Publishing is one transaction, which needs the job to be held
under the fence of the file's folder, and a fence that was lost never comes back. So of an attempt
before the job's latest, and of the latest one if the job is not held, everything it ever publishes
was there to be read. Only files of such attempts go. An attempt that began after the job was read
has a higher fence, and folders of higher fences are left alone.

A crash at any point leaves files that the next pass finds.
"""

import errno
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import structlog

from service.store import files
from service.store.database import Database
from service.store.files import Listing, StoredFile

SETTLED_AFTER = timedelta(hours=1)
"""Quiet time of a folder whose job the database does not know. Source: docs/jobs.md."""

_BATCH = 500
"""Folders whose files are in memory at a time."""

_log = structlog.get_logger(__name__)


@dataclass(kw_only=True, slots=True)
class Removed:
    """What has been removed so far."""

    files: int = 0
    bytes: int = 0


def remove_unreferenced(
    database: Database, artifacts: Path, *, now: datetime, stop: Callable[[], bool]
) -> Removed:
    """Make one pass through the folders of all jobs. What cannot be removed is logged and left.

    Files of artifacts that have expired by `now` go too. A folder without a job goes once nothing
    in it has changed for `SETTLED_AFTER`; but if not one of the folders has a job, this is another
    database's directory, and nothing goes.

    Args:
        database: where the jobs are.
        artifacts: directory of all files of all jobs.
        now: the time.
        stop: asked between batches.

    Raises:
        SQLAlchemyError: the database is away.
        OSError: the directory cannot be read.
    """
    removed = Removed()
    jobs, unknown, known = files.list_jobs(artifacts), set[uuid.UUID](), 0
    while (batch := tuple(islice(jobs, _BATCH))) and not stop():
        listings = [listing for job_id in batch if (listing := _list(artifacts, job_id))]
        with database.reading() as session:
            standings = files.standings(session, batch)
            referred = files.referred(session, batch, now=now)
        known += len(standings)
        unknown.update(set(batch) - set(standings))
        for listing in listings:
            if (standing := standings.get(listing.job_id)) is not None:
                below = standing.fence if standing.held else standing.fence + 1
                loose = listing.loose(referred, below)
                _clear(listing, loose, below, removed)
                if len(loose) == len(listing.files):
                    _drop_emptied(database, listing)
    if known:
        _remove_unknown(artifacts, unknown, now, removed)
    elif unknown:
        _log.warning("artifacts_of_another_database", folders=len(unknown))
    return removed


def _remove_unknown(
    artifacts: Path, jobs: Iterable[uuid.UUID], now: datetime, removed: Removed
) -> None:
    """Remove the files of jobs that do not exist, where nothing has changed for long, in place."""
    for job_id in jobs:
        listing = _list(artifacts, job_id)
        if listing is not None and _settled(listing, now):
            _clear(listing, listing.files, None, removed)
            _rmdir(listing.folder)


def _settled(listing: Listing, now: datetime) -> bool:
    try:
        return files.changed_at(listing) <= now - SETTLED_AFTER
    except OSError as error:
        _log.warning("folder_not_swept", folder=str(listing.folder), error=str(error))
        return False


def _list(artifacts: Path, job_id: uuid.UUID) -> Listing | None:
    try:
        return files.list_files(artifacts, job_id)
    except OSError as error:
        _log.warning("folder_not_swept", job=str(job_id), error=str(error))
        return None


def _clear(
    listing: Listing, loose: Sequence[StoredFile], below: int | None, removed: Removed
) -> None:
    """Remove files, and the empty folders of fences `below`; count the files, in place."""
    for file in loose:
        if (size := _unlink(listing.folder.parent, file)) is not None:
            removed.files += 1
            removed.bytes += size
    untouched = {file.fence for file in listing.files} - {file.fence for file in loose}
    for fence in listing.fences:
        if fence not in untouched and (below is None or fence < below):
            _rmdir(listing.folder / str(fence))


def _drop_emptied(database: Database, listing: Listing) -> None:
    """Remove the folder of a job that has ended, if nothing is left in it."""
    with database.writing() as session:
        # Locked, for an attempt of a job that is retried just now may be about to use the folder.
        if files.lock_ended(session, listing.job_id):
            _rmdir(listing.folder)


def _unlink(artifacts: Path, file: StoredFile) -> int | None:
    """Remove a file and return its bytes; None if it is there still, or was gone already."""
    path = artifacts / file.key
    try:
        size = path.lstat().st_size
        path.unlink()
    except FileNotFoundError:
        return None  # somebody else was faster
    except OSError as error:
        _log.warning("file_not_removed", file=file.key, error=str(error))
        return None
    return size


def _rmdir(folder: Path) -> None:
    """Remove a folder unless something is in it."""
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}:
            _log.warning("folder_not_removed", folder=str(folder), error=str(error))
