"""A model in another format: served when it was exported, and else told how it comes about."""

import uuid
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
from httpx import Response
from sqlalchemy import func, select

from service.contract import EXPORT_FILES, ExportFormat, JobState
from service.store.ids import new_id
from service.store.tables import IdempotencyKey, Job
from tests.service.exported import CONTENT, finish_export, store_export
from tests.service.origins import Origin, send, store_origin
from tests.service.running import NOON, Service


def test_a_model_that_nobody_exported_is_a_404_with_the_request_that_makes_it(
    service: Service,
) -> None:
    origin = store_origin(service)
    answer = service.client.get(f"/v1/jobs/{origin.job}/checkpoint?format=onnx")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "not_exported"
    assert problem["request"]["method"] == "POST"
    assert problem["request"]["path"] in problem["detail"]
    document = service.client.get("/openapi.json").json()
    schema = {
        "$ref": "#/components/schemas/Problem",
        "components": document["components"],
    }
    jsonschema.validate(problem, schema)
    body = problem["request"]["body"]
    assert body["source"] == {"job": str(origin.job), "model": str(origin.models[-1])}
    made = service.client.post(problem["request"]["path"], json=body)
    assert made.status_code == 202, made.text
    assert made.json()["spec"]["export"] == {"formats": ["onnx"], "check": True}


def test_a_problem_that_no_request_mends_names_none(local: Service) -> None:
    assert "request" not in local.client.get(f"/v1/jobs/{new_id()}").json()


@pytest.mark.parametrize(
    ("form", "media"),
    [
        ("onnx", "application/octet-stream"),
        ("pt2", "application/octet-stream"),
        ("torch", "application/zip"),
        ("card", "text/markdown; charset=utf-8"),
    ],
)
def test_an_export_is_served_as_what_it_is(
    service: Service, form: ExportFormat, media: str
) -> None:
    origin = store_origin(service)
    store_export(service, origin, "onnx", "pt2", "torch", "card")

    answer = service.client.get(f"/v1/jobs/{origin.job}/checkpoint?format={form}")

    assert (answer.status_code, answer.content) == (200, CONTENT[form])
    assert answer.headers["Content-Type"] == media
    ending = EXPORT_FILES[form].rpartition(".")[2]
    assert f'filename="grown-100-macs.{ending}"' in answer.headers["Content-Disposition"]


def test_the_export_is_of_the_model_that_fits_and_the_latest_of_it(service: Service) -> None:
    origin = store_origin(service)
    url = f"/v1/jobs/{origin.job}/checkpoint?format=onnx"
    store_export(service, origin, "onnx", model=0, text=b" of another model")
    assert service.client.get(url).status_code == 404

    store_export(service, origin, "onnx", text=b" first")
    second = store_export(
        service, origin, "onnx", text=b" second", published_at=NOON + timedelta(minutes=1)
    )
    answer = service.client.get(url)
    assert answer.content == b"onnx second"
    assert answer.headers["Slbi-Export"] == str(second)
    assert "Slbi-Export" not in service.client.get(url.replace("onnx", "safetensors")).headers
    assert service.client.get(url.replace("onnx", "pt2")).status_code == 404


def test_what_failed_has_ended_or_is_of_others_is_not_served(service: Service) -> None:
    origin = store_origin(service)
    store_export(service, origin, "onnx", state=JobState.FAILED)
    store_export(service, origin, "onnx", owner=uuid.uuid4())
    store_export(service, origin, "onnx", expires_at=NOON)

    answer = service.client.get(f"/v1/jobs/{origin.job}/checkpoint?format=onnx")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_exported")


def test_a_model_that_does_not_fit_is_told_before_its_format(service: Service) -> None:
    origin = store_origin(service)
    answer = service.client.get(f"/v1/jobs/{origin.job}/checkpoint?format=onnx&max_macs=1")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "nearest" in answer.json()["detail"]


def test_an_export_whose_file_was_lost_gives_way_to_the_one_before(service: Service) -> None:
    origin = store_origin(service)
    url = f"/v1/jobs/{origin.job}/checkpoint?format=onnx"
    store_export(service, origin, "onnx", text=b" first")
    later = NOON + timedelta(minutes=1)
    lost = store_export(service, origin, "onnx", text=b" second", published_at=later)
    (service.settings.artifacts / f"{lost}-model.onnx").unlink()
    assert service.client.get(url).content == b"onnx first"


def _ask(
    service: Service,
    origin: Origin | None,
    *formats: str,
    query: str = "",
    key: str | None = None,
    **changed: Any,  # noqa: ANN401 - JSON
) -> Response:
    """Ask for an export of the best model of a job."""
    source = {} if origin is None else {"source": {"job": str(origin.job)}}
    spec = {"kind": "export", **source, "export": {"formats": formats or None}, **changed}
    headers = {} if key is None else {"Idempotency-Key": key}
    answer: Response = service.client.post(f"/v1/jobs{query}", json=spec, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer


def _count(service: Service, table: type[Job | IdempotencyKey] = Job) -> int:
    with service.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_an_export_that_is_on_its_way_is_waited_for_and_not_begun_again(
    service: Service, state: JobState
) -> None:
    origin = store_origin(service)
    first = _ask(service, origin, "onnx")
    assert "Slbi-Reused" not in first.headers
    with service.database.writing() as session:
        session.get_one(Job, uuid.UUID(first.json()["id"])).state = state
    before, woken = _count(service), service.queue.wakes
    named = {"job": str(origin.job), "model": str(origin.models[-1])}

    second = _ask(service, None, "onnx", source=named)

    assert second.headers["Slbi-Reused"] == "true"
    assert second.headers["Location"] == first.headers["Location"]
    assert (second.json()["id"], second.json()["state"]) == (first.json()["id"], state)
    assert (_count(service), service.queue.wakes) == (before, woken)


def test_an_export_that_has_succeeded_is_the_answer_while_its_files_are_there(
    service: Service,
) -> None:
    origin = store_origin(service)
    first = _ask(service, origin, "onnx").json()["id"]
    finish_export(service, uuid.UUID(first), "onnx", "card")
    assert _ask(service, origin, "onnx").json()["id"] == first

    (service.settings.artifacts / f"{first}-card.md").unlink()
    second = _ask(service, origin, "onnx").json()["id"]
    assert second != first
    finish_export(service, uuid.UUID(second), "onnx", "card", expires_at=NOON)
    third = _ask(service, origin, "onnx").json()["id"]
    assert third not in {first, second}
    finish_export(service, uuid.UUID(third), "onnx")  # without its card
    assert _ask(service, origin, "onnx").json()["id"] not in {first, second, third}


@pytest.mark.parametrize(
    "state",
    [JobState.FAILED, JobState.CANCELLED, JobState.CANCELLING, JobState.PAUSED, JobState.PAUSING],
)
def test_an_export_that_will_bring_nothing_by_itself_is_not_waited_for(
    local: Service, state: JobState
) -> None:
    origin = store_origin(local)
    first = _ask(local, origin, "onnx").json()["id"]
    finish_export(local, uuid.UUID(first), "onnx", "card", state=state)
    assert _ask(local, origin, "onnx").json()["id"] != first


def test_the_newest_of_several_is_taken(local: Service) -> None:
    origin = store_origin(local)
    exports = []
    for _ in range(3):
        exports.append(_ask(local, origin, "onnx", query="?again=true").json()["id"])
        finish_export(local, uuid.UUID(exports[-1]), "onnx", "card")
    assert len(set(exports)) == 3
    assert _ask(local, origin, "onnx").json()["id"] == exports[-1]


def test_again_makes_a_new_export_whatever_is_there(service: Service) -> None:
    origin = store_origin(service)
    first = _ask(service, origin, "onnx")
    again = _ask(service, origin, "onnx", query="?again=true")
    assert again.json()["id"] != first.json()["id"]
    assert "Slbi-Reused" not in again.headers
    assert again.json()["spec"] == first.json()["spec"]


def test_an_export_in_more_formats_is_enough_and_one_in_fewer_is_not(local: Service) -> None:
    origin = store_origin(local)
    two = _ask(local, origin, "pt2", "onnx").json()["id"]
    for formats in (("onnx",), ("onnx", "pt2"), ("card",), ("pt2", "card", "onnx")):
        assert _ask(local, origin, *formats).json()["id"] == two
    every = _ask(local, origin).json()["id"]
    assert every != two
    assert _ask(local, origin, "torch").json()["id"] == every
    assert _ask(local, origin).json()["id"] == every


@pytest.mark.parametrize(
    "changed",
    [
        {"export": {"formats": ["onnx"], "check": False}},
        {"data": {"image_size": 16}},
        {"compute": {"threads": 1}},
        {"label": "mine"},
    ],
)
def test_an_export_with_another_option_is_another_one(
    local: Service, changed: dict[str, Any]
) -> None:
    origin = store_origin(local)
    first = _ask(local, origin, "onnx").json()["id"]
    other = _ask(local, origin, "onnx", **changed).json()["id"]
    assert other != first
    assert _ask(local, origin, "onnx", **changed).json()["id"] == other


def test_priority_and_a_label_that_nobody_asks_for_make_no_difference(local: Service) -> None:
    origin = store_origin(local)
    first = _ask(local, origin, "onnx", label="mine").json()["id"]
    assert _ask(local, origin, "onnx", priority=5).json()["id"] == first


def test_exports_of_other_models_and_of_others_are_left_alone(service: Service) -> None:
    origin, other = store_origin(service), store_origin(service)
    first = _ask(service, origin, "onnx").json()["id"]
    earlier = {"job": str(origin.job), "model": str(origin.models[0])}
    ids = {
        first,
        _ask(service, other, "onnx").json()["id"],
        _ask(service, None, "onnx", source=earlier).json()["id"],
    }
    assert len(ids) == 3
    stranger = service.client_with_key()
    theirs = store_origin(service, owner=service.keys["somebody"])
    spec = {"kind": "export", "source": {"job": str(theirs.job)}}
    assert stranger.post("/v1/jobs", json=spec).json()["id"] not in ids


def test_an_upload_is_exported_once_too(service: Service) -> None:
    first, second = (send(service.client) for _ in range(2))
    told = {"dataset": "digits", "backbone": "vgg11"}
    ids = [
        _ask(service, None, "onnx", source={"upload": upload}, **told).json()["id"]
        for upload in (first, first, second)
    ]
    assert ids[0] == ids[1] != ids[2]


def test_a_key_stands_for_the_export_that_it_was_answered_with(service: Service) -> None:
    origin = store_origin(service)
    first = _ask(service, origin, "onnx").json()["id"]
    assert _ask(service, origin, "onnx", key="once").json()["id"] == first
    _ask(service, origin, "onnx", query="?again=true")
    repeated = _ask(service, origin, "onnx", key="once")
    assert (repeated.json()["id"], repeated.headers["Idempotency-Replayed"]) == (first, "true")
    assert _count(service, IdempotencyKey) == 1

    spec = {"kind": "export", "source": {"job": str(origin.job)}, "export": {"formats": ["onnx"]}}
    other = service.client.post(
        "/v1/jobs?again=true", json=spec, headers={"Idempotency-Key": "once"}
    )
    assert (other.status_code, other.json()["errors"][0]["code"]) == (422, "key_reused")


def test_again_is_no_word_of_a_sweep(local: Service) -> None:
    assert local.client.post("/v1/sweeps?again=true", json={}).status_code == 422
