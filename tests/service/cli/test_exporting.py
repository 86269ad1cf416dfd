"""What one export left, fetched together. The service is real, its worker is not."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.cli.exits import CommandError
from service.cli.exporting import fetch
from service.client.client import Client
from service.client.problem import Problem
from service.contract import Bounds, EventType, ExportFormat, JobState
from service.store.history import append
from tests.service.exported import finish_export, store_export
from tests.service.origins import Origin, store_origin
from tests.service.running import NOON, Service


class Worker(httpx.BaseTransport):
    """Hands requests to a service in this process, and ends the exports that somebody follows."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.end = JobState.SUCCEEDED
        self.done: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = str(request.url.raw_path, "ascii")
        followed = path.split("/")[-2]
        if path.endswith("/events") and followed not in self.done:
            self._work(followed)
        answer = self.service.client.request(
            request.method, path, content=request.read(), headers=request.headers
        )
        headers = answer.headers.multi_items()
        return httpx.Response(answer.status_code, headers=headers, content=answer.content)

    def _work(self, job_id: str) -> None:
        self.done.append(job_id)
        files: list[ExportFormat] = ["onnx", "card"] if self.end == JobState.SUCCEEDED else []
        export = uuid.UUID(job_id)
        finish_export(self.service, export, *files, state=self.end)
        with self.service.database.writing() as session:
            kind = EventType(self.end)
            append(session, job_id=export, fence=1, kind=kind, data={}, now=NOON)


@pytest.fixture
def worker(local: Service) -> Worker:
    return Worker(local)


@pytest.fixture
def client(worker: Worker) -> Iterator[Client]:
    with Client("http://127.0.0.1", transport=worker) as client:
        yield client


def _spec(origin: Origin) -> dict[str, Any]:
    return {"kind": "export", "source": {"job": str(origin.job)}, "export": {"formats": ["onnx"]}}


def _targets(place: Path, form: ExportFormat = "onnx") -> dict[ExportFormat, Path]:
    return {form: place / "file", "card": place / "card"}


def test_the_card_is_that_of_the_files_own_export_though_another_came_later(
    worker: Worker, client: Client, tmp_path: Path
) -> None:
    origin = store_origin(worker.service)
    mine = store_export(worker.service, origin, "onnx", "card", text=b" mine")
    later = NOON + timedelta(minutes=1)
    store_export(worker.service, origin, "pt2", "card", text=b" other", published_at=later)

    targets = _targets(tmp_path)
    found = fetch(client, str(origin.job), targets, Bounds(), again=False, quiet=True)

    assert found == str(mine)
    assert (tmp_path / "file").read_bytes() == b"onnx mine"
    assert (tmp_path / "card").read_bytes() == b"# card mine"


def test_the_card_alone_is_of_the_latest_export(
    worker: Worker, client: Client, tmp_path: Path
) -> None:
    origin = store_origin(worker.service)
    store_export(worker.service, origin, "onnx", "card", text=b" first")
    later = NOON + timedelta(minutes=1)
    store_export(worker.service, origin, "pt2", "card", text=b" second", published_at=later)
    targets: dict[ExportFormat, Path] = {"card": tmp_path / "card"}
    fetch(client, str(origin.job), targets, Bounds(), again=False, quiet=True)
    assert (tmp_path / "card").read_bytes() == b"# card second"


def test_an_export_that_somebody_else_has_begun_is_waited_for(
    worker: Worker, client: Client, tmp_path: Path
) -> None:
    origin = store_origin(worker.service)
    begun = client.submit(_spec(origin))["id"]
    targets = _targets(tmp_path)
    found = fetch(client, str(origin.job), targets, Bounds(), again=False, quiet=True)
    assert (found, worker.done) == (begun, [begun])
    assert (tmp_path / "file").read_bytes() == b"onnx"


def test_again_exports_the_model_that_fits_anew_and_takes_both_files_from_there(
    worker: Worker, client: Client, tmp_path: Path
) -> None:
    origin = store_origin(worker.service)
    targets, job_id = _targets(tmp_path), str(origin.job)
    first = fetch(client, job_id, targets, Bounds(), again=False, quiet=True)
    assert fetch(client, job_id, targets, Bounds(), again=False, quiet=True) == first
    second = fetch(client, job_id, targets, Bounds(max_macs=100), again=True, quiet=True)
    assert worker.done == [first, second]
    assert client.job(second)["spec"] == client.job(first)["spec"]


def test_again_needs_a_model_that_fits(worker: Worker, client: Client, tmp_path: Path) -> None:
    job_id = str(store_origin(worker.service).job)
    with pytest.raises(Problem) as caught:
        fetch(client, job_id, _targets(tmp_path), Bounds(max_macs=1), again=True, quiet=True)
    assert caught.value.nearest is not None
    assert not (tmp_path / "file").exists()


def test_an_export_that_fails_leaves_nothing_and_the_next_pull_begins_another(
    worker: Worker, client: Client, tmp_path: Path
) -> None:
    job_id = str(store_origin(worker.service).job)
    worker.end = JobState.FAILED
    with pytest.raises(CommandError, match="must succeed, it is failed"):
        fetch(client, job_id, _targets(tmp_path), Bounds(), again=False, quiet=True)
    assert not (tmp_path / "file").exists()
    worker.end = JobState.SUCCEEDED
    found = fetch(client, job_id, _targets(tmp_path), Bounds(), again=False, quiet=True)
    assert found == worker.done[-1] != worker.done[0]


def test_an_export_without_a_card_says_so(worker: Worker, client: Client, tmp_path: Path) -> None:
    origin = store_origin(worker.service)
    store_export(worker.service, origin, "onnx")
    with pytest.raises(CommandError, match=r"must have left card\.md"):
        fetch(client, str(origin.job), _targets(tmp_path), Bounds(), again=False, quiet=True)
