from pathlib import Path

import pytest

from service.store.database import Database
from tests.yard import Yard


@pytest.fixture
def yard(database: Database, tmp_path: Path) -> Yard:
    """An empty place for jobs, on SQLite and on PostgreSQL."""
    return Yard(database, tmp_path)


@pytest.fixture
def sqlite_yard(sqlite: Database, tmp_path: Path) -> Yard:
    """An empty place for jobs, on SQLite only."""
    return Yard(sqlite, tmp_path)
