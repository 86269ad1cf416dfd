"""What an attempt holds: its job, under its fence. Whatever it writes, it writes as this."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from service.store.database import Database
from worker.jobs.persist import persist

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A job that is held, and where what the attempt finds out goes."""

    database: Database
    job_id: uuid.UUID
    fence: int
    """Under which the job is held."""
    artifacts: Path
    """Directory of all files of all jobs."""
    give_up: Callable[[], bool] = lambda: False
    """Asked while the database is away; True lets the error through."""

    @property
    def claim(self) -> dict[str, Any]:
        """Job and fence, as the functions of the store take them."""
        return {"job_id": self.job_id, "fence": self.fence}

    @property
    def output(self) -> Path:
        """Folder of this attempt's files: no other attempt ever writes there."""
        return self.artifacts / str(self.job_id) / str(self.fence)

    def write(self, write: Callable[[Session], T], *, flow: str | None = None) -> T:
        """Do `write` in one transaction, as `persist`."""
        return persist(self.database, write, give_up=self.give_up, flow=flow)
