"""Files of attempts in an artifact directory, and the rows that refer to them."""

import uuid
from pathlib import Path
from typing import Any

from sqlalchemy import select

from service.contract import LOCAL_OWNER
from service.store.database import Database
from service.store.ids import new_id
from service.store.tables import Artifact, Base, Checkpoint
from tests.service.running import NOON


class Shelf:
    """An artifact directory and its database.

    Args:
        database: migrated.
        root: the artifact directory.
    """

    def __init__(self, database: Database, root: Path) -> None:
        self.database = database
        self.root = root

    def file(self, job_id: uuid.UUID, fence: int, name: str = "a") -> Path:
        """Write a file to which nobody refers."""
        path = self.root / str(job_id) / str(fence) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
        return path

    def artifact(self, job_id: uuid.UUID, fence: int, name: str = "a", **columns: Any) -> Path:  # noqa: ANN401 - columns
        """Publish a file."""
        path = self.file(job_id, fence, name)
        values = {
            "owner": LOCAL_OWNER,
            "kind": "checkpoint",
            "format": "safetensors",
            "published_at": NOON,
        }
        self._refer(Artifact, path, job_id, fence, {**values, **columns})
        return path

    def checkpoint(self, job_id: uuid.UUID, fence: int, name: str = "run") -> Path:
        """Keep a file for another attempt to go on from."""
        path = self.file(job_id, fence, name)
        counts = dict.fromkeys(("step", "epoch", "round", "recorded_step", "models"), 0)
        self._refer(Checkpoint, path, job_id, fence, {**counts, "created_at": NOON})
        return path

    def rows(self, table: type[Base]) -> int:
        """Return how many rows a table has."""
        with self.database.reading() as session:
            return len(session.scalars(select(table)).all())

    def _refer(
        self, table: type[Base], path: Path, job_id: uuid.UUID, fence: int, values: dict[str, Any]
    ) -> None:
        row = table(
            id=new_id(),
            job_id=job_id,
            fence=fence,
            storage_key=path.relative_to(self.root).as_posix(),
            sha256="0" * 64,
            bytes=5,
            **values,
        )
        with self.database.writing() as session:
            session.add(row)
