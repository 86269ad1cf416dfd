import json
import uuid
from typing import Any

import pytest
from sqlalchemy import func, select

from service.contract import JobState
from service.store.tables import IdempotencyKey, Job, JobEvent
from tests.service.running import SPEC, FinishedJob, Service, store_job


def _stored(service: Service) -> int:
    with service.database.reading() as session:
        return session.execute(select(func.count()).select_from(Job)).scalar_one()


def test_a_submitted_job_is_queued_and_a_worker_woken(service: Service) -> None:
    answer = service.client.post("/v1/jobs", json={**SPEC, "label": "first"})

    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert (job["state"], job["label"], job["attempts"]) == ("queued", "first", 0)
    assert service.queue.wakes == 1
    assert service.client.get(job["links"]["self"]).json() == job


def test_a_job_is_kept_with_the_defaults_of_its_data_set(service: Service) -> None:
    spec = service.client.post("/v1/jobs", json=SPEC).json()["spec"]
    known = {each["name"]: each for each in service.client.get("/v1/datasets").json()["items"]}
    for section, values in known["digits"]["defaults"]["grow"].items():
        for name, value in values.items():
            assert spec[section][name] == value


@pytest.mark.parametrize(
    ("change", "pointer", "code", "told"),
    [
        ({"backbone": "vgg12"}, "/backbone", "unknown_backbone", "vgg11, vgg13"),
        ({"dataset": "nothing"}, "/dataset", "unknown_dataset", "fashion-mnist"),
        ({"dataset": "cifar10"}, "/dataset", "absent_dataset", "looked in"),
        ({"classes": 11}, "/classes", "wrong_classes", "must be 10"),
        ({"backbone": "lenet5"}, "/data/image_size", "unsuitable_size", "28 or 32 px, got 8"),
        ({"colour": "red"}, "/colour", "extra_forbidden", "no such field"),
        ({"growth": {"colour": 1}}, "/growth/colour", "extra_forbidden", "no such field"),
        ({"growth": {"start": {"a/b": 8}}}, "/growth/start/a~1b", "unknown_group", "conv1, conv2"),
        ({"growth": {"start": {"conv1": 8}}}, "/growth/start", "missing_group", "conv2"),
        ({"growth": {"start": 0}}, "/growth/start", "greater_than_equal", "got 0"),
        (
            {"growth": {"start": {"conv1": 0}}},
            "/growth/start/conv1",
            "greater_than_equal",
            "equal to 1, got 0",
        ),
        ({"growth": {"threshold": {"x": 0.5}}}, "/growth/threshold/x", "unknown_group", "conv1"),
        (
            {"growth": {"exclude": ["conv1", "fc*"]}},
            "/growth/exclude/1",
            "unknown_group",
            "exclude must name groups of vgg11, conv1, conv2, conv3",
        ),
        ({"growth": {"min_width": {"x": 2}}}, "/growth/min_width/x", "unknown_group", "conv1"),
        ({"growth": {"min_width": 0}}, "/growth/min_width", "greater_than_equal", "got 0"),
        (
            {"growth": {"stages": {"x*": {"ratio": 2}}}},
            "/growth/stages/x*",
            "unknown_group",
            "'x*'",
        ),
        (
            {"growth": {"stages": {"conv*": {"ratio": 2}, "*1": {"ratio": 3}}}},
            "/growth/stages/*1",
            "two_stages",
            "conv1 is in conv* and *1",
        ),
        ({"growth": {"stages": {"conv1": {}}}}, "/growth/stages/conv1", "value_error", "got none"),
        (
            {"growth": {"stages": {"conv*": {"together": True}, "conv2": {"threshold": 0.5}}}},
            "/growth/stages/conv*/together",
            "other_threshold",
            "conv2 0.5",
        ),
        (
            {"growth": {"start": {"conv1": 8}, "stages": {"conv[234]": {"start": 4}}}},
            "/growth/start",
            "missing_group",
            "one number, conv5, conv6, conv7, conv8 missing",
        ),
        ({"growth": {"start": 9, "max_width": 8}}, "/growth/start", "start_over_cap", "at most"),
        ({"growth": {"max_params": 1}}, "/growth/max_params", "start_over_cap", "at least"),
        ({"growth": {"max_macs": 1}}, "/growth/max_macs", "start_over_cap", "at least"),
        ({"growth": {"max_macs": 2**63}}, "/growth/max_macs", "less_than_equal", "must be"),
        ({"growth": {"multiple": 0}}, "/growth/multiple", "greater_than_equal", "got 0"),
        ({"optim": {"learning_rate": -1}}, "/optim/learning_rate", "greater_than", "got -1"),
        ({"optim": {"mu": "much"}}, "/optim/mu", "float_parsing", "'auto'"),
        (
            {"optim": {"momentum": 0, "nesterov": True}},
            "/optim/nesterov",
            "needs_momentum",
            "above 0",
        ),
        ({"label": "a\u0000b"}, "/label", "string_pattern_mismatch", "label"),
        ({"dataset": "../etc"}, "/dataset", "string_pattern_mismatch", "dataset"),
    ],
)
def test_a_bad_spec_is_refused_with_its_place_and_stores_nothing(
    local: Service, change: dict[str, Any], pointer: str, code: str, told: str
) -> None:
    answer = local.client.post("/v1/jobs", json={**SPEC, **change})

    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    errors = {each["pointer"]: each for each in answer.json()["errors"]}
    assert pointer in errors, errors
    assert errors[pointer]["code"] == code
    assert told in errors[pointer]["message"]
    assert _stored(local) == 0
    assert local.queue.wakes == 0


def test_every_mistake_of_a_spec_is_named_at_once(local: Service) -> None:
    answer = local.client.post("/v1/jobs", json={"dataset": "x", "backbone": "y"})
    assert [each["pointer"] for each in answer.json()["errors"]] == ["/dataset", "/backbone"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"", "application/json"),
        (b"[]", "application/json"),
        (b"dataset: digits", "application/yaml"),
        (b"1" * 5000, "application/json"),
    ],
)
def test_a_body_that_is_no_json_object_is_malformed(
    local: Service, body: bytes, content_type: str
) -> None:
    answer = local.client.post("/v1/jobs", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "malformed"
    assert _stored(local) == 0


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(local: Service, number: str) -> None:
    body = json.dumps(SPEC)[:-1] + f', "growth": {{"max_seconds": {number}}}}}'
    answer = local.client.post(
        "/v1/jobs", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/growth/max_seconds"


def test_text_that_is_no_unicode_is_refused(local: Service) -> None:
    body = json.dumps({**SPEC, "label": "\ud800", "\udfff": 1})
    answer = local.client.post(
        "/v1/jobs", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid"


def test_the_same_idempotency_key_and_spec_give_the_same_job(service: Service) -> None:
    headers = {"Idempotency-Key": "one"}
    first = service.client.post("/v1/jobs", json=SPEC, headers=headers)
    again = service.client.post("/v1/jobs", json={**SPEC, "priority": 0}, headers=headers)

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert _stored(service) == 1
    assert service.queue.wakes == 1


def test_the_same_idempotency_key_with_another_spec_is_refused(service: Service) -> None:
    headers = {"Idempotency-Key": "one"}
    service.client.post("/v1/jobs", json=SPEC, headers=headers)
    other = service.client.post("/v1/jobs", json={**SPEC, "label": "x"}, headers=headers)

    assert other.status_code == 422
    assert other.json()["errors"][0]["code"] == "key_reused"
    assert _stored(service) == 1


def test_two_owners_may_use_the_same_idempotency_key(service: Service) -> None:
    headers = {"Idempotency-Key": "one"}
    clients = [service.client_with_key(name) for name in ("a", "b")]
    jobs = {client.post("/v1/jobs", json=SPEC, headers=headers).json()["id"] for client in clients}
    assert len(jobs) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "\xe9"])
def test_an_idempotency_key_must_be_short_and_printable(local: Service, key: str) -> None:
    answer = local.client.post(
        "/v1/jobs", json=SPEC, headers={"Idempotency-Key": key.encode("latin-1")}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].lower() == "idempotency-key"
    assert _stored(local) == 0


def test_a_refused_job_does_not_use_up_its_idempotency_key(service: Service) -> None:
    headers = {"Idempotency-Key": "one"}
    service.client.post("/v1/jobs", json={**SPEC, "backbone": "x"}, headers=headers)
    assert service.client.post("/v1/jobs", json=SPEC, headers=headers).status_code == 202
    with service.database.reading() as session:
        assert session.execute(select(func.count()).select_from(IdempotencyKey)).scalar_one() == 1


def test_a_dry_run_says_what_a_job_would_take_and_stores_nothing(service: Service) -> None:
    spec = {**SPEC, "growth": {"start": 8, "max_width": 16}}
    answer = service.client.post("/v1/jobs?dry_run=true", json=spec)

    assert answer.status_code == 200
    told = answer.json()
    assert set(told["now"]["widths"].values()) == {8}
    assert set(told["at_most"]["widths"].values()) == {16}
    assert 0 < told["now"]["params"] < told["at_most"]["params"]
    assert 0 < told["now"]["macs"] < told["at_most"]["macs"]
    assert 0 < told["now"]["memory_bytes"] < told["at_most"]["memory_bytes"]
    assert told["layers"] == list(told["now"]["widths"])
    assert told["time"]["most_seconds"] is None
    assert "No finished job" in told["time"]["reason"]
    assert _stored(service) == 0


def test_a_dry_run_estimates_the_time_from_own_finished_jobs(
    service: Service, finished: FinishedJob
) -> None:
    assert finished.job_id
    time = service.client.post("/v1/jobs?dry_run=true", json=SPEC).json()["time"]
    assert 0 < time["least_seconds"] < time["most_seconds"]
    assert time["reason"] is None

    stranger = service.client_with_key()
    assert stranger.post("/v1/jobs?dry_run=true", json=SPEC).json()["time"]["reason"]


def test_caps_bound_what_a_dry_run_tells(local: Service) -> None:
    spec = {**SPEC, "growth": {"max_params": 50_000, "max_macs": 400_000}}
    told = local.client.post("/v1/jobs?dry_run=true", json=spec).json()
    assert (told["at_most"]["params"], told["at_most"]["macs"]) == (50_000, 400_000)


def test_pages_give_every_job_once_newest_first(service: Service) -> None:
    ids = [str(store_job(service.database)) for _ in range(7)]
    seen: list[str] = []
    url: str | None = "/v1/jobs?limit=3"
    while url is not None:
        page = service.client.get(url).json()
        seen += [job["id"] for job in page["items"]]
        url = page["next"]
    assert seen == sorted(ids, reverse=True)


def test_pages_keep_their_filter(service: Service) -> None:
    wanted = {
        str(store_job(service.database, label="a b", state=state))
        for state in (JobState.QUEUED, JobState.RUNNING, JobState.QUEUED)
    }
    store_job(service.database, label="a b", state=JobState.FAILED)
    store_job(service.database, label="other")

    query = {"state": ["queued", "running"], "label": "a b", "limit": 2}
    first = service.client.get("/v1/jobs", params=query).json()
    second = service.client.get(first["next"]).json()
    by_cursor = service.client.get(
        "/v1/jobs", params={**query, "cursor": first["next_cursor"]}
    ).json()

    assert {job["id"] for job in first["items"] + second["items"]} == wanted
    assert second["next"] is None
    assert second == by_cursor


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "state=gone",
        "cursor=short",
        "label=%00",
        "lable=x",
        "cursor=!" * 22,
        "sweep=digits",
    ],
)
def test_a_bad_query_is_refused_with_its_name(local: Service, query: str) -> None:
    answer = local.client.get(f"/v1/jobs?{query}")
    assert answer.status_code == 422
    pointer = answer.json()["errors"][0]["pointer"]
    assert pointer.startswith(f"?{query.split('=', maxsplit=1)[0]}")


def test_a_job_that_has_not_changed_is_not_sent_again(service: Service) -> None:
    job_id = store_job(service.database)
    first = service.client.get(f"/v1/jobs/{job_id}")
    known = {"If-None-Match": f'"other", {first.headers["ETag"]}'}

    again = service.client.get(f"/v1/jobs/{job_id}", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]

    service.client.post(f"/v1/jobs/{job_id}/cancel")
    changed = service.client.get(f"/v1/jobs/{job_id}", headers=known)
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_only_a_job_that_goes_on_says_when_to_ask_again(
    service: Service, finished: FinishedJob
) -> None:
    waiting = store_job(service.database)
    assert int(service.client.get(f"/v1/jobs/{waiting}").headers["Retry-After"]) > 0
    assert "Retry-After" not in service.client.get(f"/v1/jobs/{finished.job_id}").headers


def test_a_job_shows_its_attempt_progress_and_widths_in_their_order(
    service: Service, finished: FinishedJob
) -> None:
    job = service.client.get(f"/v1/jobs/{finished.job_id}").json()
    assert (job["attempt"]["number"], job["attempt"]["outcome"]) == (1, "succeeded")
    assert job["best_accuracy"] == 0.95
    assert list(job["widths"]) == ["conv2", "conv10"]
    assert job["created_at"] == "2026-01-02T12:00:00Z"


def test_a_queued_job_is_cancelled_at_once(service: Service) -> None:
    job_id = store_job(service.database)
    answer = service.client.post(f"/v1/jobs/{job_id}/cancel")

    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    assert answer.json()["ended_at"] is not None
    with service.database.reading() as session:
        kinds = session.scalars(select(JobEvent.type).order_by(JobEvent.id)).all()
    assert kinds == ["cancel_requested", "cancelled"]


def test_a_running_job_is_asked_to_end_once(service: Service) -> None:
    job_id = store_job(service.database, state=JobState.RUNNING, fence=1)
    answers = [service.client.post(f"/v1/jobs/{job_id}/cancel") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert {answer.json()["state"] for answer in answers} == {"cancelling"}
    assert answers[0].json()["cancel_requested"] is True
    with service.database.reading() as session:
        kinds = session.scalars(select(JobEvent.type)).all()
    assert kinds == ["cancel_requested"]


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])
def test_a_job_that_has_ended_cannot_be_cancelled(service: Service, state: JobState) -> None:
    job_id = store_job(service.database, state=state)
    answer = service.client.post(f"/v1/jobs/{job_id}/cancel")

    assert answer.status_code == 409
    assert f"got {state}" in answer.json()["detail"]
    assert "running" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "suffix"),
    [
        *(("POST", name) for name in ("/cancel", "/pause", "/resume", "/retry")),
        *(
            ("GET", name)
            for name in ("", "/attempts", "/events", "/path", "/models", "/checkpoint")
        ),
    ],
)
def test_a_job_that_is_not_there_is_not_found(service: Service, method: str, suffix: str) -> None:
    answer = service.client.request(method, f"/v1/jobs/{uuid.uuid4()}{suffix}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_an_id_that_is_none_is_refused_with_its_place(local: Service) -> None:
    answer = local.client.get("/v1/jobs/seven")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "{job_id}"
