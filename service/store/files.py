"""Which files of the jobs somebody refers to, and which nobody does. Nothing here commits.

An attempt writes its files to `<artifacts>/<job>/<fence>/`. A row of `artifacts` or `checkpoints`
refers to one by its storage key, the path below the artifact directory. Whatever lies elsewhere is
no file of an attempt and is never listed; links are never followed.
"""

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from service.contract import FINAL_STATES, HELD_STATES
from service.store.tables import Artifact, Checkpoint, Job


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """A file of an attempt."""

    key: str
    """What a row would refer to it by: its path below the artifact directory."""
    fence: int
    """Of the attempt, the only one that ever writes there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What lay in a job's folder at one moment."""

    job_id: uuid.UUID
    folder: Path
    fences: Sequence[int]
    """Attempts that have a folder, be it empty."""
    files: Sequence[StoredFile]

    def loose(self, referred: AbstractSet[str], below: int) -> Sequence[StoredFile]:
        """Return the files of fences `below` to which nobody refers."""
        return [file for file in self.files if file.fence < below and file.key not in referred]


def unreferenced(
    session: Session, artifacts: Path, job_id: uuid.UUID, *, below: int
) -> Sequence[Path]:
    """Return the files of a job's attempts of fences `below` to which nobody refers.

    For the attempt that holds the job under fence `below`: no attempt before it can publish a file
    any more, so these never will be referred to.
    """
    listing = list_files(artifacts, job_id)
    return [artifacts / file.key for file in listing.loose(referred(session, [job_id]), below)]


def list_jobs(artifacts: Path) -> Iterator[uuid.UUID]:
    """Give the jobs that have a folder, in no order, each as it is read; none without `artifacts`.

    Raises:
        OSError: the directory cannot be read.
    """
    for entry in _entries(artifacts):
        try:
            job_id = uuid.UUID(entry.name)
        except ValueError:
            continue
        if str(job_id) == entry.name and entry.is_dir(follow_symlinks=False):
            yield job_id


def list_files(artifacts: Path, job_id: uuid.UUID) -> Listing:
    """Return what lies in a job's folder; nothing if there is none.

    Raises:
        OSError: a folder cannot be read.
    """
    folder = artifacts / str(job_id)
    fences = sorted(_fences(folder))
    files = [
        StoredFile(key=f"{job_id}/{fence}/{entry.name}", fence=fence)
        for fence in fences
        for entry in _entries(f"{folder}/{fence}")
        if entry.is_file(follow_symlinks=False)
    ]
    return Listing(job_id=job_id, folder=folder, fences=fences, files=files)


def changed_at(listing: Listing) -> datetime:
    """Return when anything in a job's folder last changed.

    Raises:
        OSError: something is gone already, or cannot be read.
    """
    folders = [listing.folder, *(listing.folder / str(fence) for fence in listing.fences)]
    places = [*folders, *(listing.folder.parent / file.key for file in listing.files)]
    # Not the time of the content, which a restored backup brings along.
    return datetime.fromtimestamp(max(place.lstat().st_ctime for place in places), UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Which attempts at a job can still publish: the one of `fence`, if the job is held."""

    fence: int
    held: bool


def standings(session: Session, jobs: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, Standing]:
    """Return job -> how it stands, for those that exist."""
    rows = session.execute(select(Job.id, Job.fence, Job.state).where(Job.id.in_(jobs)))
    return {
        job_id: Standing(fence=fence, held=state in HELD_STATES) for job_id, fence, state in rows
    }


def referred(
    session: Session, jobs: Sequence[uuid.UUID], *, now: datetime | None = None
) -> AbstractSet[str]:
    """Return the storage keys that rows of these jobs hold.

    Args:
        session: in any transaction.
        jobs: whose rows.
        now: if given, an artifact of an ended job that has expired by then holds nothing.
    """
    published = select(Artifact.storage_key).where(Artifact.job_id.in_(jobs))
    if now is not None:
        # The state is asked again: a job that was retried meanwhile keeps what it has.
        published = published.join(Job, Job.id == Artifact.job_id).where(
            or_(
                Artifact.expires_at.is_(None),
                Artifact.expires_at > now,
                Job.state.not_in(FINAL_STATES),
            )
        )
    kept = select(Checkpoint.storage_key).where(Checkpoint.job_id.in_(jobs))
    return {*session.scalars(published), *session.scalars(kept)}


def lock_ended(session: Session, job_id: uuid.UUID) -> bool:
    """Lock a job that has ended, so that it cannot be retried until the transaction ends.

    Returns:
        False if it has not ended, or if others lock it at this moment.
    """
    ended = (
        select(Job.id)
        .where(Job.id == job_id, Job.state.in_(FINAL_STATES))
        .with_for_update(skip_locked=True)
    )
    return session.scalar(ended) is not None


def free_bytes(directory: Path) -> int:
    """Return the room on the disk of a directory, or of its nearest parent that exists.

    Raises:
        OSError: the disk does not answer.
    """
    place = directory
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _fences(folder: Path) -> Iterator[int]:
    for entry in _entries(folder):
        name = entry.name
        canonical = name.isascii() and name.isdecimal() and str(int(name)) == name
        if canonical and entry.is_dir(follow_symlinks=False):
            yield int(name)


def _entries(folder: Path | str) -> Iterator["os.DirEntry[str]"]:
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        yield from entries
