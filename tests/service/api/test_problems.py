import errno
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from service.api.problems import understood
from service.catalogue import Catalogue
from service.keys import create_key
from service.main import create_app
from service.settings import Settings
from service.store.database import Database
from tests.service.running import SPEC, CountingQueue, Service, store_job


@pytest.mark.parametrize(
    ("method", "url", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
        ("GET", "/v1/jobs/7", 422, "invalid"),
        ("GET", "/v1/jobs/", 404, "not_found"),
        ("POST", "/v1/jobs/", 404, "not_found"),
        ("BREW", "/v1/jobs", 405, "method_not_allowed"),
        ("GET", "/v1/jobs/%00", 422, "invalid"),
        ("GET", "/%ff%fe", 404, "not_found"),
    ],
)
def test_whatever_goes_wrong_is_problem_json_of_the_documented_shape(
    local: Service, method: str, url: str, status: int, code: str
) -> None:
    answer = local.client.request(method, url)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    document = local.client.get("/openapi.json").json()
    schema = {**document["components"]["schemas"]["Problem"], "components": document["components"]}
    jsonschema.validate(problem, schema)
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:slbi:problem:{code}"


def test_every_route_documents_its_problems_as_problem_json(local: Service) -> None:
    document = local.client.get("/openapi.json").json()
    refused = [
        answer["content"]
        for path in document["paths"].values()
        for operation in path.values()
        for status, answer in operation["responses"].items()
        if int(status) >= 400
    ]
    assert refused
    assert {tuple(content) for content in refused} == {("application/problem+json",)}
    submit = document["paths"]["/v1/jobs"]["post"]["responses"]
    assert {"400", "401", "413", "422", "503", "507"} <= set(submit)


def test_references_of_the_openapi_document_lead_somewhere(local: Service) -> None:
    document = local.client.get("/openapi.json").json()
    names = {
        part.split('"')[0] for part in json.dumps(document).split('"#/components/schemas/')[1:]
    }
    assert names <= set(document["components"]["schemas"])


def test_a_database_that_does_not_answer_is_503(tmp_path: Path, catalogue: Catalogue) -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:9/nothing")
    app = create_app(Settings(home=tmp_path), database, CountingQueue(), catalogue)
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    for answer in (
        client.get("/v1/jobs"),
        client.post("/v1/jobs", json=SPEC),
        client.get("/v1/jobs", headers={"Authorization": "Bearer slbi_x"}),
    ):
        assert answer.status_code == 503
        assert answer.json()["code"] == "unavailable"
        assert int(answer.headers["Retry-After"]) > 0
        assert "nobody" not in answer.text
    assert client.get("/healthz").status_code == 200


def test_what_is_unexpected_shows_nothing_of_the_inside(
    make_service: Callable[[Settings], Service], settings: Settings
) -> None:
    service = make_service(settings)

    @service.app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the secret is swordfish")

    answer = service.client.get("/broken")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert "swordfish" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["X-Request-Id"] == answer.json()["request_id"]


def test_a_full_disk_is_507(sqlite: Database, tmp_path: Path, catalogue: Catalogue) -> None:
    app = create_app(Settings(home=tmp_path), sqlite, CountingQueue(), catalogue)
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    assert client.post("/v1/jobs", json=SPEC).status_code == 202
    with sqlite.engine.connect() as connection:
        connection.execute(text("PRAGMA max_page_count = 1"))  # not below what there is now
    spec = {**SPEC, "label": "x" * 200}
    statuses = [client.post("/v1/jobs", json=spec).status_code for _ in range(40)]
    assert set(statuses) <= {202, 507}
    assert 507 in statuses
    assert client.get("/v1/jobs").status_code == 200


def test_a_disk_without_room_behind_any_error_is_understood() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    wrapped = RuntimeError("while writing")
    wrapped.__cause__ = full
    assert [understood(error).status for error in (full, wrapped)] == [507, 507]
    gone = OperationalError("SELECT 1", {}, Exception("gone"))
    assert understood(gone).status == 503


class Ailing(Database):
    """A database that does this before whatever it is asked, as long as `ails`."""

    def __init__(self, url: str, does: Sequence[str]) -> None:
        super().__init__(url)
        self._does = does
        self.ails = True

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with super().reading() as session:
            self._suffer(session)
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        with super().writing() as session:
            self._suffer(session)
            yield session

    def _suffer(self, session: Session) -> None:
        for statement in self._does if self.ails else ():
            session.execute(text(statement))


@pytest.mark.stack
@pytest.mark.parametrize(
    "does",
    [
        ("SELECT pg_terminate_backend(pg_backend_pid())",),
        ("SET TRANSACTION READ ONLY", "DELETE FROM workers"),
    ],
)
def test_a_postgresql_that_fails_amid_a_request_is_503_to_everybody(
    postgresql: Database, settings: Settings, catalogue: Catalogue, does: tuple[str, ...]
) -> None:
    job_id = store_job(postgresql)
    _, secret = create_key(postgresql, "first")
    ailing = Ailing(postgresql.engine.url.render_as_string(hide_password=False), does)
    app = create_app(settings, ailing, CountingQueue(), catalogue)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        asked = [
            client.get("/v1/jobs"),
            client.get("/v1/workers"),
            client.get("/metrics"),
            client.get(f"/v1/jobs/{job_id}/events"),
            client.get(f"/v1/jobs/{job_id}/attempts"),
            client.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": "one"}),
            *(
                client.post(f"/v1/jobs/{job_id}/{call}")
                for call in ("cancel", "pause", "resume", "retry")
            ),
            client.get("/v1/jobs", headers={"Authorization": f"Bearer {secret}"}),
        ]
        for answer in asked:
            assert answer.status_code == 503, answer.request.url
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert int(answer.headers["Retry-After"]) > 0
        ailing.ails = False
        (job,) = client.get("/v1/jobs").json()["items"]
        assert job["state"] == "queued"
    ailing.close()


def test_an_sqlite_that_takes_no_writes_is_503_to_who_writes(local: Service) -> None:
    keyed = local.client_with_key()
    job_id = store_job(local.database, local.keys["somebody"])
    with local.database.engine.connect() as connection:
        connection.execute(text("PRAGMA query_only = ON"))
    assert keyed.get(f"/v1/jobs/{job_id}").status_code == 200
    for url in ("/v1/jobs", f"/v1/jobs/{job_id}/pause"):
        answer = keyed.post(url, json=SPEC)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/v1/jobs?label=%00", "label must match pattern"),
        ("/v1/jobs?cursor=x", "cursor must have at least 22 characters, got 'x'"),
        ("/v1/jobs?limit=0", "limit must be greater than or equal to 1, got '0'"),
    ],
)
def test_what_must_hold_is_said_in_one_sentence(local: Service, url: str, said: str) -> None:
    assert local.client.get(url).json()["detail"].startswith(said)
