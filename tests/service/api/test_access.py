"""Who may ask what: without a key, with a wrong one, and with somebody else's."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from fastapi.routing import iter_route_contexts
from httpx import Response

from service.contract import JobState
from service.keys import revoke_key
from service.settings import Settings
from service.store.ids import new_id
from service.store.tables import Worker
from tests.service.running import (
    NOON,
    SPEC,
    FinishedJob,
    Service,
    store_finished_job,
    store_job,
)
from tests.service.tensor_files import sound

JOB = "/v1/jobs/{job_id}"


def _is_missing(answer: Response) -> None:
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def _is_empty(answer: Response) -> None:
    assert answer.status_code == 200
    assert answer.json()["items"] == []


def _is_public(answer: Response) -> None:
    assert answer.status_code in {200, 503}  # the same for everybody: no job is in it


def _is_new(answer: Response) -> None:
    assert answer.status_code == 202
    assert "Idempotency-Replayed" not in answer.headers


def _is_refused_for_its_body(answer: Response) -> None:
    assert answer.status_code == 422


def _shows_no_job(answer: Response) -> None:
    (worker,) = answer.json()["items"]
    assert (worker["job_id"], worker["label"], worker["attempt"]) == (None, None, None)


SEEN_BY_A_STRANGER: dict[tuple[str, str], Callable[[Response], None]] = {
    ("POST", "/v1/jobs"): _is_new,
    ("GET", "/v1/jobs"): _is_empty,
    ("GET", JOB): _is_missing,
    ("GET", f"{JOB}/attempts"): _is_missing,
    ("POST", f"{JOB}/cancel"): _is_missing,
    ("POST", f"{JOB}/pause"): _is_missing,
    ("POST", f"{JOB}/resume"): _is_missing,
    ("POST", f"{JOB}/retry"): _is_missing,
    ("GET", f"{JOB}/events"): _is_missing,
    ("GET", f"{JOB}/path"): _is_missing,
    ("GET", f"{JOB}/models"): _is_missing,
    ("GET", f"{JOB}/checkpoint"): _is_missing,
    ("GET", f"{JOB}/artifacts"): _is_missing,
    ("GET", "/v1/artifacts/{artifact_id}/content"): _is_missing,
    ("POST", "/v1/uploads"): _is_refused_for_its_body,
    ("GET", "/v1/uploads"): _is_empty,
    ("GET", "/v1/uploads/{upload_id}"): _is_missing,
    ("DELETE", "/v1/uploads/{upload_id}"): _is_missing,
    ("POST", "/v1/sweeps"): _is_new,
    ("GET", "/v1/sweeps"): _is_empty,
    ("GET", "/v1/sweeps/{sweep_id}"): _is_missing,
    ("POST", "/v1/sweeps/{sweep_id}/cancel"): _is_missing,
    ("GET", "/v1/workers"): _shows_no_job,
    ("GET", "/v1/backbones"): _is_public,
    ("GET", "/v1/backbones/{name}"): _is_public,
    ("GET", "/v1/datasets"): _is_public,
    ("GET", "/healthz"): _is_public,
    ("GET", "/readyz"): _is_public,
    ("GET", "/metrics"): _is_public,
    ("GET", "/openapi.json"): _is_public,
}
"""Every route, and what a key sees there of another key's job."""


def _routes(service: Service) -> Iterator[tuple[str, str]]:
    for route in iter_route_contexts(service.app.routes):
        for method in (route.methods or set()) - {"HEAD"}:
            yield method, str(route.path)


def test_every_route_is_listed_here(local: Service) -> None:
    assert set(_routes(local)) == set(SEEN_BY_A_STRANGER)


@pytest.mark.parametrize(("method", "path"), list(SEEN_BY_A_STRANGER))
def test_a_second_key_sees_nothing_of_the_first(service: Service, method: str, path: str) -> None:
    keyed = service.client_with_key("first")
    headers = {"Idempotency-Key": "shared"}
    keyed.post("/v1/jobs", json=SPEC, headers=headers)
    done = store_finished_job(service.database, service.settings.artifacts, service.keys["first"])
    with service.database.writing() as session:
        session.add(
            Worker(
                id=new_id(),
                host="here",
                pid=1,
                started_at=NOON,
                heartbeat_at=max(NOON, _now()),
                job_id=done.job_id,
            )
        )
    upload_id = keyed.post("/v1/uploads", content=sound()).json()["id"]
    sweep_id = keyed.post("/v1/sweeps", json={"base": SPEC}).json()["id"]
    url = path.format(
        job_id=done.job_id,
        artifact_id=done.artifact_ids[0],
        upload_id=upload_id,
        sweep_id=sweep_id,
        name="resnet18",
    )
    bodies = {"/v1/jobs": SPEC, "/v1/sweeps": {"base": SPEC}}
    body = bodies.get(path) if method == "POST" else None

    for stranger in (service.client_with_key("second"), service.client):
        answer = stranger.request(method, url, json=body, headers=headers)
        SEEN_BY_A_STRANGER[method, path](answer)
        assert str(done.job_id) not in answer.text or answer.status_code == 404
    if (
        path.startswith(("/v1/jobs/", "/v1/artifacts/", "/v1/uploads/", "/v1/sweeps/"))
        and method == "GET"
    ):
        assert keyed.get(url).status_code in {200, 204}


def _now() -> datetime:
    return datetime.now(UTC)


def test_a_stranger_cannot_cancel(service: Service) -> None:
    service.client_with_key("first")
    job_id = store_job(service.database, service.keys["first"])
    assert service.client_with_key("second").post(f"/v1/jobs/{job_id}/cancel").status_code == 404
    mine = service.client_with_key("third")
    assert mine.get("/v1/jobs").json()["items"] == []


def test_a_worker_shows_its_job_to_the_owner(service: Service) -> None:
    job_id = store_job(service.database, state=JobState.RUNNING)
    with service.database.writing() as session:
        session.add(
            Worker(
                id=new_id(),
                host="here",
                pid=1,
                started_at=NOON,
                heartbeat_at=_now(),
                job_id=job_id,
            )
        )
    (worker,) = service.client.get("/v1/workers").json()["items"]
    assert (worker["job_id"], worker["state"]) == (str(job_id), "alive")


@pytest.mark.parametrize(
    "sent",
    ["Bearer slbi_wrong", "Bearer ", "Basic dXNlcjpwYXNz", "slbi_wrong", "Bearer \xff"],
)
def test_a_key_that_is_sent_must_be_a_good_one_even_on_loopback(local: Service, sent: str) -> None:
    answer = local.client.get("/v1/jobs", headers={"Authorization": sent.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_revoked_key_is_worth_nothing(service: Service) -> None:
    client = service.client_with_key("first")
    assert client.get("/v1/jobs").status_code == 200
    revoke_key(service.database, service.keys["first"])
    assert client.get("/v1/jobs").status_code == 401


def test_off_loopback_everything_but_health_needs_a_key(
    make_service: Callable[[Settings], Service], settings: Settings
) -> None:
    service = make_service(settings.model_copy(update={"host": "0.0.0.0"}))  # noqa: S104 - the case
    keyed = service.client_with_key()
    for method, path in [*_routes(service), ("GET", "/nothing")]:
        ids = dict.fromkeys(("job_id", "artifact_id", "upload_id", "sweep_id"), str(uuid.uuid4()))
        url = path.format_map({**ids, "name": "resnet18"})
        status = service.client.request(method, url).status_code
        assert status == (200 if path == "/healthz" else 401), path
        assert keyed.request(method, url).status_code != 401, path


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "127.8.9.10:1"])
def test_without_a_key_loopback_names_are_served(local: Service, host: str) -> None:
    assert local.client.get("/v1/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "192.168.0.7",
        "",
        "[::",
        "evil.example@127.0.0.1",
        "127.0.0.1/evil.example",
    ],
)
def test_without_a_key_a_name_that_was_pointed_here_is_refused(local: Service, host: str) -> None:
    answer = local.client.get("/v1/jobs", headers={"Host": host})
    assert answer.status_code == 403
    keyed = local.client_with_key()
    if host and host != "[::":
        assert keyed.get("/v1/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999"])
def test_a_page_of_another_origin_cannot_change_anything(local: Service, origin: str) -> None:
    answer = local.client.post("/v1/jobs", json=SPEC, headers={"Origin": origin})
    assert answer.status_code == 403
    assert local.client.get("/v1/jobs").json()["items"] == []


def test_a_page_of_the_same_origin_can(local: Service) -> None:
    headers = {"Origin": "http://127.0.0.1"}
    assert local.client.post("/v1/jobs", json=SPEC, headers=headers).status_code == 202


def test_no_other_origin_is_let_read(service: Service, finished: FinishedJob) -> None:
    answer = service.client.get(
        f"/v1/jobs/{finished.job_id}", headers={"Origin": "http://evil.example"}
    )
    assert not [name for name in answer.headers if name.startswith("access-control")]
