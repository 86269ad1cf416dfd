from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from migrations.run import downgrade
from service.catalogue import Catalogue
from service.contract import AttemptOutcome, JobState
from service.main import create_app
from service.settings import Settings
from service.store.database import Database
from service.store.ids import new_id
from service.store.tables import Attempt, Worker
from tests.service.running import CountingQueue, FinishedJob, Service, store_job


def _store_worker(
    database: Database, *, ago: timedelta = timedelta(), stopped: bool = False
) -> None:
    seen = datetime.now(UTC) - ago
    with database.writing() as session:
        session.add(
            Worker(
                id=new_id(),
                host="here",
                pid=1,
                started_at=seen,
                heartbeat_at=seen,
                stopped_at=seen if stopped else None,
            )
        )


def _store_attempt(database: Database, outcome: AttemptOutcome) -> None:
    now = datetime.now(UTC)
    job_id = store_job(database, state=JobState.PAUSED, fence=1, attempts=1)
    with database.writing() as session:
        session.add(
            Attempt(
                job_id=job_id,
                fence=1,
                worker_id=new_id(),
                host="here",
                started_at=now,
                ended_at=now,
                outcome=outcome,
            )
        )


def _wrong(service: Service) -> set[str]:
    answer = service.client.get("/readyz")
    if answer.status_code == 200:
        return set()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    return {each["pointer"] for each in answer.json()["errors"]}


def test_with_everything_there_the_service_is_ready(service: Service) -> None:
    _store_worker(service.database)
    answer = service.client.get("/readyz")
    assert answer.json() == {
        "status": "ready",
        "checks": ["broker", "database", "disk", "migrations", "workers"],
    }


@pytest.mark.parametrize(("ago", "stopped"), [(31, False), (0, True)])
def test_without_a_living_worker_it_is_not_ready(
    service: Service, ago: int, *, stopped: bool
) -> None:
    _store_worker(service.database, ago=timedelta(seconds=ago), stopped=stopped)
    assert _wrong(service) == {"workers"}
    assert service.client.get("/healthz").status_code == 200


def test_without_a_broker_it_is_not_ready(service: Service) -> None:
    _store_worker(service.database)
    service.queue.answers = False
    assert _wrong(service) == {"broker"}


def test_without_room_for_checkpoints_it_is_not_ready(service: Service) -> None:
    _store_worker(service.database)
    settings = service.settings.model_copy(update={"min_free_bytes": 2**60})
    context = service.app.state.context
    service.app.state.context = type(context)(
        settings=settings,
        database=context.database,
        queue=context.queue,
        catalogue=context.catalogue,
        metrics=context.metrics,
    )
    assert _wrong(service) == {"disk"}


def test_with_another_schema_it_is_not_ready(
    sqlite: Database, settings: Settings, catalogue: Catalogue
) -> None:
    downgrade(sqlite, "base")
    app = create_app(settings, sqlite, CountingQueue(), catalogue)
    answer = TestClient(app, base_url="http://127.0.0.1").get("/readyz")
    assert answer.status_code == 503
    assert {each["pointer"] for each in answer.json()["errors"]} == {"migrations", "workers"}
    assert "slbi migrate" in answer.json()["detail"]


def test_metrics_count_jobs_attempts_workers_and_requests(
    service: Service, finished: FinishedJob
) -> None:
    store_job(service.database)
    store_job(service.database, state=JobState.FAILED)
    _store_attempt(service.database, AttemptOutcome.NO_SPACE)
    _store_worker(service.database)
    _store_worker(service.database, stopped=True)
    for _ in range(3):
        service.client.get(f"/v1/jobs/{finished.job_id}")
    service.client.get("/v1/jobs/7")

    answer = service.client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["slbi_jobs", "queued"] == samples["slbi_jobs", "failed"] == 1
    assert samples["slbi_jobs", "running"] == 0
    assert samples["slbi_attempts", "succeeded"] == 1
    for outcome in AttemptOutcome:
        assert samples["slbi_attempts", outcome] == (outcome in {"succeeded", "no_space"})
    assert samples["slbi_workers_alive",] == 1
    assert samples["slbi_http_requests_total", "/v1/jobs/{job_id}", "200", "GET"] == 3
    assert samples["slbi_http_requests_total", "/v1/jobs/{job_id}", "422", "GET"] == 1
    assert samples["slbi_http_request_seconds_count", "/v1/jobs/{job_id}", "GET"] == 4
    assert str(finished.job_id) not in answer.text
