"""A model in another format: served when it was exported, and else told how it comes about."""

import uuid
from datetime import timedelta
from typing import Any

import jsonschema
import pytest

from service.contract import EXPORT_FILES, LOCAL_OWNER, JobState
from service.spec.jobs import read_spec
from service.store.ids import new_id
from service.store.tables import Artifact
from tests.service.origins import Origin, store_origin
from tests.service.running import NOON, Service, store_job

CONTENT = {"onnx": b"onnx", "pt2": b"pt2", "torch": b"PK", "card": b"# card"}


def _store_export(
    service: Service,
    origin: Origin,
    *formats: str,
    model: int = -1,
    owner: uuid.UUID = LOCAL_OWNER,
    state: JobState = JobState.SUCCEEDED,
    text: bytes = b"",
    **columns: Any,  # noqa: ANN401 - columns
) -> uuid.UUID:
    """Store an export of a model of a job with its files; return its id."""
    source = {"job": str(origin.job), "model": str(origin.models[model])}
    spec = {"kind": "export", "dataset": "digits", "backbone": "vgg11", "source": source}
    job_id = store_job(
        service.database,
        owner,
        kind="export",
        spec=read_spec(spec).model_dump(mode="json"),
        source_job=origin.job,
        state=state,
        ended_at=NOON,
    )
    service.settings.artifacts.mkdir(parents=True, exist_ok=True)
    with service.database.writing() as session:
        for form in formats:
            title = EXPORT_FILES[form]  # type: ignore[index] # the tests name those that there are
            content = CONTENT[form] + text
            (service.settings.artifacts / f"{job_id}-{title}").write_bytes(content)
            values: dict[str, Any] = {
                "id": new_id(),
                "owner": owner,
                "job_id": job_id,
                "fence": 1,
                "kind": "card" if form == "card" else "export",
                "format": title.rpartition(".")[2],
                "title": title,
                "step": 0,
                "storage_key": f"{job_id}-{title}",
                "sha256": "0" * 64,
                "bytes": len(content),
                "published_at": NOON,
            }
            session.add(Artifact(**{**values, **columns}))
    return job_id


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
def test_an_export_is_served_as_what_it_is(service: Service, form: str, media: str) -> None:
    origin = store_origin(service)
    _store_export(service, origin, "onnx", "pt2", "torch", "card")

    answer = service.client.get(f"/v1/jobs/{origin.job}/checkpoint?format={form}")

    assert (answer.status_code, answer.content) == (200, CONTENT[form])
    assert answer.headers["Content-Type"] == media
    ending = EXPORT_FILES[form].rpartition(".")[2]  # type: ignore[index] # likewise
    assert f'filename="grown-100-macs.{ending}"' in answer.headers["Content-Disposition"]


def test_the_export_is_of_the_model_that_fits_and_the_latest_of_it(service: Service) -> None:
    origin = store_origin(service)
    url = f"/v1/jobs/{origin.job}/checkpoint?format=onnx"
    _store_export(service, origin, "onnx", model=0, text=b" of another model")
    assert service.client.get(url).status_code == 404

    _store_export(service, origin, "onnx", text=b" first")
    _store_export(
        service, origin, "onnx", text=b" second", published_at=NOON + timedelta(minutes=1)
    )
    assert service.client.get(url).content == b"onnx second"
    assert service.client.get(url.replace("onnx", "pt2")).status_code == 404


def test_what_failed_has_ended_or_is_of_others_is_not_served(service: Service) -> None:
    origin = store_origin(service)
    _store_export(service, origin, "onnx", state=JobState.FAILED)
    _store_export(service, origin, "onnx", owner=uuid.uuid4())
    _store_export(service, origin, "onnx", expires_at=NOON)

    answer = service.client.get(f"/v1/jobs/{origin.job}/checkpoint?format=onnx")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_exported")


def test_a_model_that_does_not_fit_is_told_before_its_format(service: Service) -> None:
    origin = store_origin(service)
    answer = service.client.get(f"/v1/jobs/{origin.job}/checkpoint?format=onnx&max_macs=1")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "nearest" in answer.json()["detail"]
