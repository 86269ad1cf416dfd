"""Checkpoints of a run: a file that is whole, then an entry in a ledger that makes it count."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from worker.training.files import Mark, unmarked, write_whole
from worker.training.state import State, StateError

KEPT = 2
"""Checkpoints kept: where the last one is damaged, the one before still serves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """Where a run stood, and what it had recorded by then."""

    step: int
    """Optimizer steps taken."""
    epoch: int
    """Epochs finished."""
    round: int
    recorded_step: int
    """Last step of the path that was recorded; growth of `round` and later was not."""
    models: int
    """Members of the family that were recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A checkpoint that counts: where its file lies, and what it must be."""

    path: Path
    sha256: str
    bytes: int
    point: Point


class Ledger(Protocol):
    """Knows which checkpoints count."""

    def enter(self, entry: Entry) -> Sequence[Path]:
        """Let a checkpoint count, and only one more of those before.

        Its file is whole. Returns the files of those that count no more.
        """

    def entries(self) -> Sequence[Entry]:
        """Return those that count, newest first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The newest checkpoint that can be read."""

    state: State | None
    """None if there is none: the run begins anew."""
    entry: Entry | None
    damaged: tuple[Entry, ...] = ()
    """Newer ones that could not be read."""


class Keeper:
    """Writes checkpoints, and finds the newest one that is whole.

    Args:
        folder: where the files of this attempt are written; made if it is not there.
        ledger: what counts.
        every: steps after which another checkpoint is due.
        mark: called around each step of writing.
    """

    def __init__(self, folder: Path, ledger: Ledger, *, every: int, mark: Mark = unmarked) -> None:
        self.every = every
        self.folder = folder
        self.ledger = ledger
        self._mark = mark
        self._count = 0

    def keep(self, state: State, point: Point) -> None:
        """Keep a checkpoint; those that it replaces are removed when it counts.

        Raises:
            NoSpaceError: there is no room for it; the checkpoints before still count.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        content = state.to_bytes()
        path = self.folder / f"state-{point.step:09d}-{self._count:06d}.safetensors"
        self._count += 1
        write_whole(path, content, flow="checkpoint", mark=self._mark)
        sha256 = hashlib.sha256(content).hexdigest()
        entry = Entry(path=path, sha256=sha256, bytes=len(content), point=point)
        old = self.ledger.enter(entry)
        self._mark("checkpoint.unlink.before")
        for each in old:
            each.unlink(missing_ok=True)
        self._mark("checkpoint.unlink.after")

    def last(self) -> Found:
        """Return the newest checkpoint whose file is what it was, and which ones are not."""
        damaged: list[Entry] = []
        for entry in self.ledger.entries():
            state = _read(entry)
            if state is not None:
                return Found(state=state, entry=entry, damaged=tuple(damaged))
            damaged.append(entry)
        return Found(state=None, entry=None, damaged=tuple(damaged))


class FileLedger:
    """A ledger in a file, for runs without a database.

    Args:
        path: of the file, in a folder at or above those of the checkpoints.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def enter(self, entry: Entry) -> Sequence[Path]:
        """Let a checkpoint count, and only one more of those before."""
        entries = [entry, *self.entries()]
        rows = [
            {**asdict(each), "path": str(each.path.relative_to(self._path.parent))}
            for each in entries[:KEPT]
        ]
        write_whole(self._path, json.dumps(rows).encode(), flow="ledger")
        return [each.path for each in entries[KEPT:]]

    def entries(self) -> Sequence[Entry]:
        """Return those that count, newest first; none if there is no ledger yet.

        Raises:
            StateError: the file is no ledger.
        """
        try:
            rows = json.loads(self._path.read_text(encoding="utf-8"))
            return [
                Entry(
                    path=self._path.parent / row["path"],
                    sha256=row["sha256"],
                    bytes=row["bytes"],
                    point=Point(**row["point"]),
                )
                for row in rows
            ]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(f"{self._path} must be a ledger of checkpoints: {error}") from error


def _read(entry: Entry) -> State | None:
    """Return the state of a checkpoint, None if its file is not what it was."""
    try:
        content = entry.path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        return None
    try:
        return State.from_bytes(content)
    except StateError:
        return None
