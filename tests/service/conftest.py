from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.catalogue import Catalogue
from service.main import create_app
from service.settings import Settings
from service.store.database import Database
from tests.service.running import CountingQueue, FinishedJob, Service, store_finished_job


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.generated()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def _service(settings: Settings, database: Database, catalogue: Catalogue) -> Service:
    queue = CountingQueue()
    app = create_app(settings, database, queue, catalogue)
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    return Service(settings, database, queue, app, client)


@pytest.fixture
def make_service(sqlite: Database, catalogue: Catalogue) -> Callable[[Settings], Service]:
    """Make a service of other settings, on SQLite."""
    return lambda settings: _service(settings, sqlite, catalogue)


@pytest.fixture
def local(sqlite: Database, settings: Settings, catalogue: Catalogue) -> Service:
    """A service on SQLite, for what no database has a say in."""
    return _service(settings, sqlite, catalogue)


@pytest.fixture
def service(database: Database, settings: Settings, catalogue: Catalogue) -> Service:
    """A service on either database."""
    return _service(settings, database, catalogue)


@pytest.fixture
def finished(service: Service) -> FinishedJob:
    """A finished job of nobody's key."""
    return store_finished_job(service.database, service.settings.artifacts)


@pytest.fixture
def finished_here(local: Service) -> FinishedJob:
    """The same in the service on SQLite."""
    return store_finished_job(local.database, local.settings.artifacts)
