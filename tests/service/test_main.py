import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from migrations.run import upgrade
from service.catalogue import Catalogue
from service.keys import ExposureError
from service.main import app_from_environment, create_app
from service.settings import Settings
from service.store.database import Database
from tests.service.running import CountingQueue


@dataclass
class Thing:
    """Writes down when it is started and stopped."""

    name: str
    log: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.log.append(f"{self.name} started")

    def stop(self) -> None:
        self.log.append(f"{self.name} stopped")


def test_what_works_in_the_background_lives_as_long_as_the_app(
    sqlite: Database, settings: Settings, catalogue: Catalogue
) -> None:
    log: list[str] = []
    things = [Thing("a", log), Thing("b", log)]
    app = create_app(settings, sqlite, CountingQueue(), catalogue, things)
    assert log == []
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert log == ["a started", "b started"]
        assert client.get("/healthz").status_code == 200
    assert log[2:] == ["b stopped", "a stopped"]


def test_the_environment_describes_an_app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLBI_HOME", str(tmp_path))
    upgrade(Database(Settings().database))
    app = app_from_environment()
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/v1/jobs").json()["items"] == []


def test_an_open_address_without_a_key_is_not_served(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLBI_HOME", str(tmp_path))
    monkeypatch.setenv("SLBI_HOST", "0.0.0.0")  # noqa: S104 - the case
    upgrade(Database(Settings().database))
    with pytest.raises(ExposureError):
        app_from_environment()


def test_importing_the_service_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "celery", "torchvision", "sklearn", "worker", "slbi")
    code = f"import sys, service.main; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"
