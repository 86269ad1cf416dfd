"""What a job can start from, over HTTP, and that it is kept until the job has ended."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import select, update

from service.contract import FINAL_STATES, LOCAL_OWNER, JobState
from service.settings import Settings
from service.store import retention
from service.store.ids import new_id
from service.store.tables import Artifact, Job, Upload
from service.sweeper import Sweeper
from tests.service.origins import ABOUT, GROUPS, Origin, send, store_origin
from tests.service.running import NOON, SPEC, Service, store_job

HOUR = timedelta(hours=1)
PERCENT = {"pruning": {"percent": 50}}


def _submit(service: Service, source: object, **changes: Any) -> Response:  # noqa: ANN401 - JSON
    spec = {"kind": "prune", "source": source, **PERCENT, **changes}
    answer: Response = service.client.post("/v1/jobs", json=spec)
    return answer


def _refusal(answer: Response) -> tuple[str, str, str]:
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    return error["pointer"], error["code"], error["message"]


def _set(service: Service, job_id: str | uuid.UUID, **columns: object) -> None:
    with service.database.writing() as session:
        session.execute(update(Job).where(Job.id == uuid.UUID(str(job_id))).values(**columns))


def test_a_job_starts_from_the_most_accurate_model_or_the_one_that_is_named(
    service: Service,
) -> None:
    origin = store_origin(service)
    best = _submit(service, {"job": str(origin.job)}).json()["spec"]["source"]
    assert best == {"job": str(origin.job), "model": str(origin.models[1]), "upload": None}
    named = _submit(service, {"job": str(origin.job), "model": str(origin.models[0])})
    assert named.json()["spec"]["source"]["model"] == str(origin.models[0])


def test_what_is_left_out_is_that_of_the_job_so_that_nothing_learnt_judges(local: Service) -> None:
    spec = {**SPEC, "data": {"image_size": 32, "validation": 0.2}, "compute": {"seed": 7}}
    source = {"job": str(store_origin(local, spec=spec).job)}
    taken = _submit(local, source).json()["spec"]
    assert (taken["data"]["image_size"], taken["data"]["validation"]) == (32, 0.2)
    assert taken["compute"]["seed"] == 7
    data = {"image_size": None, "validation": 0.1, "augment": False}
    asked = _submit(local, source, data=data, compute={"seed": 0}).json()["spec"]
    told = {name: asked["data"][name] for name in data}
    assert told == {"image_size": 32, "validation": 0.1, "augment": False}
    assert asked["compute"]["seed"] == 0


def test_a_model_of_another_data_set_brings_that_along(local: Service) -> None:
    origin = store_origin(local, datasets=("cifar10", None))
    answer = _submit(local, {"job": str(origin.job), "model": str(origin.models[0])})
    assert _refusal(answer)[:2] == ("/dataset", "absent_dataset")  # and not digits


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.SUCCEEDED}))
def test_a_job_that_has_not_succeeded_is_no_source(local: Service, state: JobState) -> None:
    origin = store_origin(local, state=state)
    pointer, code, told = _refusal(_submit(local, {"job": str(origin.job)}))
    assert (pointer, code) == ("/source/job", "not_succeeded")
    assert told.endswith(f"is {state}")


def test_a_job_of_another_owner_is_as_one_that_there_is_not(local: Service) -> None:
    theirs = store_origin(local, owner=new_id()).job
    for job_id in (theirs, new_id()):
        told = _refusal(_submit(local, {"job": str(job_id)}))
        message = f"source.job must be the id of one of your jobs, got {job_id}"
        assert told == ("/source/job", "unknown_job", message)


def test_a_model_of_another_job_is_refused_and_the_jobs_own_are_listed(local: Service) -> None:
    origin, other = store_origin(local), store_origin(local)
    source = {"job": str(origin.job), "model": str(other.models[0])}
    pointer, code, told = _refusal(_submit(local, source))
    assert (pointer, code) == ("/source/model", "unknown_model")
    assert all(str(model) in told for model in origin.models)
    assert _refusal(_submit(local, {"model": str(origin.models[0])}))[0] == "/source"


def test_a_job_without_models_is_no_source(local: Service) -> None:
    origin = store_origin(local, models=0)
    assert _refusal(_submit(local, {"job": str(origin.job)}))[:2] == ("/source/job", "no_model")


def test_a_model_whose_file_has_expired_is_no_source(local: Service) -> None:
    origin = store_origin(local, expires_at=datetime.now(UTC) - HOUR)
    assert _refusal(_submit(local, {"job": str(origin.job)}))[:2] == ("/source/model", "gone")


def test_an_upload_that_describes_itself_needs_no_names(local: Service) -> None:
    source = {"upload": send(local.client, ABOUT)}
    job = _submit(local, source).json()
    assert (job["dataset"], job["backbone"]) == ("digits", "vgg11")
    assert job["spec"]["data"]["image_size"] == 16
    assert (job["spec"]["data"]["validation"], job["spec"]["compute"]["seed"]) == (0.3, 9)
    forecast = local.client.post("/v1/jobs?dry_run=true", json=job["spec"]).json()
    assert forecast["now"]["widths"] == ABOUT["widths"]
    other = _submit(local, source, backbone="resnet20")
    assert _refusal(other)[:2] == ("/backbone", "other_backbone")


def test_an_upload_of_tensors_alone_needs_data_set_backbone_and_norms(local: Service) -> None:
    source = {"upload": send(local.client)}
    answer = _submit(local, source)
    missing = [(each["pointer"], each["code"]) for each in answer.json()["errors"]]
    assert missing == [("/dataset", "missing"), ("/backbone", "missing")]
    assert _refusal(_submit(local, source, **SPEC))[:2] == ("/pruning/order", "needs_order")
    norms = {"pruning": {"percent": 50, "order": "norm"}}
    assert _submit(local, source, **SPEC, **norms).status_code == 202


def test_a_ticket_may_be_searched_for_in_an_upload_or_in_a_model_of_a_job(local: Service) -> None:
    origin = store_origin(local)
    for source in ({"upload": send(local.client)}, {"job": str(origin.job)}):
        spec = {"kind": "ticket", **SPEC, "source": source, "start": "initial"}
        job = local.client.post("/v1/jobs", json=spec).json()
        assert job["spec"]["source"] == {"job": None, "model": None, "upload": None} | source | (
            {"model": str(origin.models[1])} if "job" in source else {}
        )
        with local.database.reading() as session:
            row = session.get_one(Job, uuid.UUID(job["id"]))
            named = {"job": row.source_job, "upload": row.source_upload}
        assert {name: str(value) for name, value in named.items() if value} == source
    for change, told in (
        ({"widths": 8}, ("/widths", "of_the_source")),
        ({"mask": {"rewind": 1}}, ("/mask/rewind", "no_such_epoch")),
        ({"backbone": "vgg13"}, ("/backbone", "other_backbone")),
    ):
        answer = local.client.post("/v1/jobs", json={**spec, **change})
        assert _refusal(answer)[:2] == told


def test_an_upload_has_no_path_to_draw(local: Service) -> None:
    spec = {
        "kind": "visualise",
        "source": {"upload": send(local.client, ABOUT)},
        "pictures": {"show": ["weights", "support"]},
    }
    told = _refusal(local.client.post("/v1/jobs", json=spec))
    assert told[:2] == ("/pictures/show/1", "needs_path")
    assert local.client.post("/v1/jobs", json={**spec, "pictures": {}}).status_code == 202


def test_an_upload_of_somebody_else_or_of_long_ago_is_as_none(local: Service) -> None:
    theirs = send(local.client_with_key())
    late = send(local.client)
    with local.database.writing() as session:
        over = datetime.now(UTC) - HOUR
        session.execute(update(Upload).where(Upload.id == uuid.UUID(late)).values(expires_at=over))
    lost = send(local.client)
    (local.settings.artifacts / "uploads" / f"{lost}.safetensors").unlink()
    for upload in (theirs, late, lost, str(new_id())):
        told = _refusal(_submit(local, {"upload": upload}))
        message = f"source.upload must be the id of one of your uploads, got {upload}"
        assert told == ("/source/upload", "unknown_upload", message)


@pytest.mark.parametrize(
    "about",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "[" * 200_000,
        '{"format": 1e999}',
        {**ABOUT, "format": 2},
        {**ABOUT, "backbone": ["vgg11"]},
        {**ABOUT, "backbone": None},
        {**ABOUT, "dataset": "../secret"},
        {**ABOUT, "widths": [8]},
        {**ABOUT, "widths": {"conv1": "many"}},
        {**ABOUT, "widths": dict.fromkeys(GROUPS, 2**70)},
        {**ABOUT, "config": {"data": {"image_size": 10**9}}},
        {**ABOUT, "entry": 5},
    ],
)
def test_what_a_file_says_of_itself_is_checked_before_it_is_believed(
    local: Service, about: object
) -> None:
    answer = _submit(local, {"upload": send(local.client, about)}, **SPEC)
    pointer, code, told = _refusal(answer)
    assert (pointer, code) == ("/source/upload", "unsound_description")
    assert told.startswith("source.upload must describe itself as a checkpoint does, or not: ")


def test_a_file_with_the_groups_of_another_network_is_refused(local: Service) -> None:
    about = {**ABOUT, "widths": {"conv1": 8, "stem": 8}}
    told = _refusal(_submit(local, {"upload": send(local.client, about)}))
    assert told[:2] == ("/source/upload", "other_groups")


# What waits in the queue keeps what it starts from.


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL_STATES))
def test_an_upload_that_a_job_needs_can_be_neither_removed_nor_swept(
    service: Service, state: JobState
) -> None:
    upload = send(service.client, ABOUT)
    job_id = _submit(service, {"upload": upload}).json()["id"]
    _set(service, job_id, state=state)
    answer = service.client.delete(f"/v1/uploads/{upload}")
    assert answer.status_code == 409
    assert answer.json()["detail"] == f"Upload {upload} must stay until job {job_id} has ended."
    late = datetime.now(UTC) + timedelta(days=30)
    assert Sweeper(service.database, service.settings).sweep(late).uploads == 0
    assert service.client.get(f"/v1/uploads/{upload}").status_code == 200

    _set(service, job_id, state=JobState.SUCCEEDED, ended_at=NOON)
    assert Sweeper(service.database, service.settings).sweep(late).uploads == 1
    assert service.client.get(f"/v1/uploads/{upload}").status_code == 404


def test_an_upload_whose_job_has_ended_can_be_removed(service: Service) -> None:
    upload = send(service.client, ABOUT)
    job_id = _submit(service, {"upload": upload}).json()["id"]
    _set(service, job_id, state=JobState.FAILED)
    assert service.client.delete(f"/v1/uploads/{upload}").status_code == 204
    answer = service.client.post(f"/v1/jobs/{job_id}/retry")
    assert answer.status_code == 409
    assert "starts from must be kept" in answer.json()["detail"]


def test_an_upload_past_its_time_that_a_job_needs_is_there_for_others_too(
    service: Service,
) -> None:
    upload = send(service.client, ABOUT)
    assert _submit(service, {"upload": upload}).status_code == 202
    with service.database.writing() as session:
        session.execute(update(Upload).values(expires_at=datetime.now(UTC) - HOUR))
    assert service.client.get(f"/v1/uploads/{upload}").status_code == 200
    assert [each["id"] for each in service.client.get("/v1/uploads").json()["items"]] == [upload]
    assert _submit(service, {"upload": upload}).status_code == 202


def _ends(service: Service, origin: Origin) -> set[datetime | None]:
    with service.database.reading() as session:
        found = select(Artifact.expires_at).where(Artifact.job_id == origin.job)
        return set(session.scalars(found))


def test_artifacts_that_a_job_needs_have_no_end_until_it_has_ended(service: Service) -> None:
    origin = store_origin(service, expires_at=datetime.now(UTC) + HOUR)
    job_id = _submit(service, {"job": str(origin.job)}).json()["id"]
    assert _ends(service, origin) == {None}

    def begin() -> int:
        with service.database.writing() as session:
            return retention.begin_expiry(session, keep=HOUR, limit=10)

    assert begin() == 0
    _set(service, job_id, state=JobState.CANCELLED, ended_at=NOON)
    assert begin() == 2
    assert _ends(service, origin) == {NOON + HOUR}


def test_artifacts_that_a_retried_job_needs_have_no_end_again(service: Service) -> None:
    origin = store_origin(service)
    job_id = _submit(service, {"job": str(origin.job)}).json()["id"]
    _set(service, job_id, state=JobState.FAILED, ended_at=NOON)
    soon = datetime.now(UTC) + HOUR
    with service.database.writing() as session:
        session.execute(update(Artifact).values(expires_at=soon))
    assert service.client.post(f"/v1/jobs/{job_id}/retry").status_code == 202
    assert _ends(service, origin) == {None}
    with service.database.writing() as session:
        session.execute(update(Artifact).values(expires_at=soon))
        assert retention.end_expiry(session, limit=10) == 2
    assert _ends(service, origin) == {None}


def test_a_sweep_that_ends_artifacts_leaves_the_file_that_a_job_needs(service: Service) -> None:
    settings = Settings(home=service.settings.home, artifact_days=1)
    origin, other = store_origin(service), store_origin(service)
    _submit(service, {"job": str(origin.job)})
    Sweeper(service.database, settings).sweep(datetime.now(UTC) + timedelta(days=365))
    assert _ends(service, origin) == {None}
    assert None not in _ends(service, other)


def test_the_sources_of_others_are_not_kept_by_what_they_happen_to_share(service: Service) -> None:
    origin = store_origin(service)
    store_job(service.database, LOCAL_OWNER, kind="prune", source_upload=origin.job)
    with service.database.writing() as session:
        assert retention.begin_expiry(session, keep=HOUR, limit=10) == 2


def test_an_idempotency_key_gives_the_job_whose_source_is_gone_by_now(local: Service) -> None:
    upload = send(local.client, ABOUT)
    spec = {"kind": "prune", "source": {"upload": upload}, **PERCENT}
    headers = {"Idempotency-Key": "one"}
    first = local.client.post("/v1/jobs", json=spec, headers=headers).json()
    _set(local, first["id"], state=JobState.SUCCEEDED, ended_at=NOON)
    assert local.client.delete(f"/v1/uploads/{upload}").status_code == 204
    again = local.client.post("/v1/jobs", json=spec, headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    assert json.loads(again.text)["spec"] == first["spec"]


def test_single_weights_that_never_entered_singly_have_no_order(local: Service) -> None:
    percent = {"pruning": {"percent": {"classifier.weight": 50.0}}}
    grown = {"job": str(store_origin(local).job)}
    assert _refusal(_submit(local, grown, **percent))[:2] == ("/pruning/order", "needs_order")
    by_norm = {"pruning": {**percent["pruning"], "order": "norm"}}
    assert _submit(local, grown, **by_norm).status_code == 202
    spec = {**SPEC, "kind": "train", "twin": {"structure": "mixed"}}
    trained = {"job": str(store_origin(local, spec=spec).job)}
    assert _submit(local, trained, **percent).status_code == 202
