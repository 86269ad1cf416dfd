"""Removes uploads whose time is over, and files of uploads to which no row refers.

Row first: whatever is killed in between, a later pass finds a file without a row. Of those only
files go in which nothing has changed for `SETTLED_AFTER`, since an upload is a file before it is a
row.
"""

import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import structlog

from service.removal import SETTLED_AFTER, Removed
from service.store.database import Database
from service.store.uploads import FOLDER, SUFFIX, forget_uploads, known_keys

_BATCH = 500
"""Rows a transaction, and files looked up at a time."""

_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PARTIAL = re.compile(rf"\.{_UUID}\.partial")
_WHOLE = re.compile(_UUID + re.escape(SUFFIX))

_log = structlog.get_logger(__name__)


def remove_expired(
    database: Database,
    artifacts: Path,
    removed: Removed,
    *,
    now: datetime,
    stop: Callable[[], bool],
) -> int:
    """Remove the uploads whose time is over, count their files in `removed`, return their number.

    Args:
        database: where the uploads are.
        artifacts: directory of all files.
        removed: what a pass has removed, changed in place.
        now: the time.
        stop: asked between batches.

    Raises:
        SQLAlchemyError: the database is away.
    """
    rows = 0
    while not stop():
        with database.writing() as session:
            keys = forget_uploads(session, now=now, limit=_BATCH)
        if not keys:
            break
        rows += len(keys)
        for key in keys:
            _unlink(artifacts / key, removed)
    return rows


def remove_strays(
    database: Database,
    artifacts: Path,
    removed: Removed,
    *,
    now: datetime,
    stop: Callable[[], bool],
) -> None:
    """Remove what uploads that came to nothing have left, and count it in `removed`, in place.

    If not one of the whole files has a row, this may be another database's directory, and only
    files that never became whole go.

    Raises:
        SQLAlchemyError: the database is away.
        OSError: the folder cannot be read.
    """
    names = sorted(_names(artifacts / FOLDER))
    whole = [f"{FOLDER}/{name}" for name in names if _WHOLE.fullmatch(name)]
    known: set[str] = set()
    for start in range(0, len(whole), _BATCH):
        if stop():
            return
        with database.reading() as session:
            known |= known_keys(session, whole[start : start + _BATCH])
    strays = [f"{FOLDER}/{name}" for name in names if _PARTIAL.fullmatch(name)]
    if known:
        strays += [key for key in whole if key not in known]
    elif whole:
        _log.warning("uploads_of_another_database", files=len(whole))
    for key in strays:
        if _settled(artifacts / key, now):
            _unlink(artifacts / key, removed)


def _names(folder: Path) -> Iterator[str]:
    """Give the names of the files in a folder; links are none."""
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        yield from (entry.name for entry in entries if entry.is_file(follow_symlinks=False))


def _settled(path: Path, now: datetime) -> bool:
    try:
        # Not the time of the content, which a restored backup brings along.
        changed = datetime.fromtimestamp(path.lstat().st_ctime, UTC)
    except FileNotFoundError:
        return False
    return changed <= now - SETTLED_AFTER


def _unlink(path: Path, removed: Removed) -> None:
    """Remove a file and count it, in place."""
    try:
        size = path.lstat().st_size
        path.unlink()
    except FileNotFoundError:
        return  # somebody else was faster
    except OSError as error:
        _log.warning("file_not_removed", file=path.name, error=str(error))
        return
    removed.files += 1
    removed.bytes += size
