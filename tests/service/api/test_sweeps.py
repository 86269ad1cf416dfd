"""Sweeps over HTTP: several jobs in one request, followed, merged and cancelled together."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from service.contract import JobState
from service.racing import can_halve
from service.store.database import Database
from service.store.ids import new_id
from service.store.tables import IdempotencyKey, Job, Model, PathStep, Sweep, Trial
from tests.service.origins import store_origin
from tests.service.running import NOON, SPEC, Service, store_finished_job, store_job

SWEEP: dict[str, Any] = {
    "base": {**SPEC, "growth": {"max_rounds": 2}},
    "axes": {"backbone": ["vgg11", "resnet20"], "growth.ratio": [1.5, 2], "compute.seed": [1, 2]},
    "label": "widths",
}


def _start(service: Service, **changed: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    answer = service.client.post("/v1/sweeps", json={**SWEEP, **changed})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/v1/sweeps/{answer.json()['id']}"
    started: dict[str, Any] = answer.json()
    return started


def _count(database: Database) -> dict[str, int]:
    with database.reading() as session:
        return {
            table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0
            for table in (Sweep, Trial, Job, IdempotencyKey)
        }


def test_every_combination_is_a_job_like_any_other(service: Service) -> None:
    started = _start(service)
    assert len(started["jobs"]) == 8
    assert (started["states"], started["ended"]) == ({"queued": 8}, False)
    assert started["jobs"][1]["settings"] == {
        "backbone": "vgg11", "growth.ratio": 1.5, "compute.seed": 2,
    }  # fmt: skip
    for each in started["jobs"]:
        job = service.client.get(each["href"]).json()
        settings = each["settings"]
        assert job["backbone"] == each["backbone"] == settings["backbone"]
        assert job["spec"]["growth"]["ratio"] == settings["growth.ratio"]
        assert job["spec"]["growth"]["max_rounds"] == 2
        assert job["spec"]["compute"]["seed"] == settings["compute.seed"]
        assert (job["label"], job["state"]) == ("widths", "queued")
    listed = service.client.get("/v1/jobs?label=widths").json()["items"]
    assert {job["id"] for job in listed} == {each["job_id"] for each in started["jobs"]}
    assert service.queue.wakes >= 1


def test_a_list_of_specs_is_a_sweep_as_well(service: Service) -> None:
    specs = [{**SPEC, "label": "mine"}, {**SPEC, "kind": "train", "widths": 8}]
    answer = service.client.post("/v1/sweeps", json={"specs": specs, "label": "two"})
    assert answer.status_code == 202, answer.text
    assert [each["kind"] for each in answer.json()["jobs"]] == ["grow", "train"]
    labels = [service.client.get(each["href"]).json()["label"] for each in answer.json()["jobs"]]
    assert labels == ["mine", "two"]


def test_a_sweep_of_prunings_starts_from_a_job_which_is_kept_for_them(service: Service) -> None:
    origin = store_origin(service)
    base = {"kind": "prune", "source": {"job": str(origin.job)}, "pruning": {}}
    axes = {"pruning.percent": [20, 50]}
    answer = service.client.post("/v1/sweeps", json={"base": base, "axes": axes})
    assert answer.status_code == 202, answer.text
    with service.database.reading() as session:
        assert set(session.scalars(select(Job.source_job).where(Job.kind == "prune"))) == {
            origin.job
        }


def test_a_dry_run_stores_nothing_and_adds_up_what_the_jobs_would_take(service: Service) -> None:
    before = _count(service.database)
    answer = service.client.post("/v1/sweeps?dry_run=true", json={**SWEEP, "max_training_macs": 9})
    assert answer.status_code == 200, answer.text
    assert _count(service.database) == before
    total, jobs = answer.json()["total"], answer.json()["jobs"]
    assert (total["jobs"], len(jobs), total["max_training_macs"]) == (8, 8, 9)
    assert jobs[-1]["settings"]["backbone"] == jobs[-1]["spec"]["backbone"] == "resnet20"
    for bound in ("least_macs", "most_macs"):
        alone = [
            service.client.post("/v1/jobs?dry_run=true", json=job["spec"]).json()["training"][bound]
            for job in jobs
        ]
        assert total[bound] == sum(alone)
    assert total["least_macs"] < total["most_macs"]


def test_the_training_of_a_dry_run_is_three_passes_over_its_images_an_epoch(
    local: Service,
) -> None:
    spec = {**SPEC, "kind": "train", "widths": 8, "train": {"epochs": 4}}
    found = local.client.post("/v1/jobs?dry_run=true", json=spec).json()
    (digits,) = [
        row for row in local.client.get("/v1/datasets").json()["items"] if row["name"] == "digits"
    ]
    images = round(digits["train"] * (1 - found["spec"]["data"]["validation"]))
    expected = 3 * found["now"]["macs"] * images * 4
    assert found["training"] == {"least_macs": expected, "most_macs": expected}


def test_the_same_key_and_body_give_the_same_sweep(service: Service) -> None:
    headers = {"Idempotency-Key": "once"}
    first = service.client.post("/v1/sweeps", json=SWEEP, headers=headers)
    stored = _count(service.database)
    again = service.client.post("/v1/sweeps", json=SWEEP, headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert _count(service.database) == stored

    for url, body in (("/v1/sweeps", {**SWEEP, "label": "other"}), ("/v1/jobs", SPEC)):
        refused = service.client.post(url, json=body, headers=headers)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["code"] == "key_reused"
    service.client.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": "job"})
    other = service.client.post("/v1/sweeps", json=SWEEP, headers={"Idempotency-Key": "job"})
    assert other.json()["errors"][0]["code"] == "key_reused"


_KILLED = """
import json, os, signal, sys
from pathlib import Path
from sqlalchemy import event
from fastapi.testclient import TestClient
from service.catalogue import Catalogue
from service.main import create_app
from service.settings import Settings
from service.store.database import Database
from service.store.tables import Trial
from tests.service.running import CountingQueue

stored = []

@event.listens_for(Trial, "after_insert")
def die(_mapper, _connection, trial):
    stored.append(trial)
    if len(stored) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

settings = Settings(home=Path(sys.argv[2]))
app = create_app(settings, Database(sys.argv[1]), CountingQueue(), Catalogue.generated())
client = TestClient(app, base_url="http://127.0.0.1")
client.post("/v1/sweeps", json=json.loads(sys.argv[3]), headers={"Idempotency-Key": "killed"})
"""


def test_a_server_that_is_killed_between_two_jobs_leaves_none_and_a_repeat_makes_all(
    service: Service,
) -> None:
    url = service.database.engine.url.render_as_string(hide_password=False)
    ended = subprocess.run(
        [sys.executable, "-c", _KILLED, url, str(service.settings.home), json.dumps(SWEEP)],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert set(_count(service.database).values()) == {0}

    headers = {"Idempotency-Key": "killed"}
    answer = service.client.post("/v1/sweeps", json=SWEEP, headers=headers)
    assert answer.status_code == 202
    assert "Idempotency-Replayed" not in answer.headers
    assert _count(service.database)["jobs"] == 8


def test_one_job_that_cannot_be_run_refuses_all(service: Service) -> None:
    axes = {"growth.ratio": [2, 99], "backbone": ["vgg11", "vgg12"], "compute.seed": [1, 2, 3]}
    answer = service.client.post("/v1/sweeps", json={**SWEEP, "axes": axes})
    assert answer.status_code == 422
    told = [(each["pointer"], each["code"]) for each in answer.json()["errors"]]
    assert told == [("/axes/growth.ratio", "less_than_equal")]  # once, not for every job
    del axes["growth.ratio"]
    answer = service.client.post("/v1/sweeps", json={**SWEEP, "axes": axes})
    assert [each["pointer"] for each in answer.json()["errors"]] == ["/axes/backbone"]
    assert set(_count(service.database).values()) == {0}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"base": SPEC, "specs": [SPEC]}, ""),
        ({"specs": [SPEC], "axes": {"backbone": ["vgg11"]}}, ""),
        ({"specs": []}, "/specs"),
        ({"base": SPEC, "axes": {"compute.seed": list(range(17)), "growth.ratio": [2] * 16}}, ""),
        ({"base": SPEC, "axes": {"backbone": []}}, "/axes/backbone"),
        ({"base": SPEC, "axes": {"growth.start": [4], "no.such": [1]}}, "/axes/no.such"),
        ({"base": {**SPEC, "no": 1}, "axes": {"growth.start": [4]}}, "/base/no"),
        ({"base": {**SPEC, "growth": {"ratio": 0}}}, "/base/growth/ratio"),
        ({"specs": [SPEC, {**SPEC, "kind": "fly"}]}, "/specs/1/kind"),
        ({"specs": [SPEC, {**SPEC, "dataset": "nothing"}]}, "/specs/1/dataset"),
        ({"base": SPEC, "strategy": "random"}, "/strategy"),
        ({"base": SPEC, "max_training_macs": 0}, "/max_training_macs"),
        ({"base": SPEC, "halving": {"factor": 1}}, "/halving/factor"),
        ({"base": SPEC, "axes": {"growth": [[]]}}, "/axes/growth"),
    ],
)  # fmt: skip
def test_a_sweep_that_cannot_be_is_refused_with_a_pointer(
    local: Service, body: dict[str, Any], pointer: str
) -> None:
    answer = local.client.post("/v1/sweeps", json=body)
    assert answer.status_code == 422, answer.text
    assert pointer in [each["pointer"] for each in answer.json()["errors"]], answer.text


def test_jobs_on_two_data_sets_have_no_common_family(local: Service) -> None:
    for name in ("cat", "dog"):
        folder = local.settings.home / "data" / "pets" / name
        folder.mkdir(parents=True)
        (folder / "1.png").touch()
    pets = {**SPEC, "dataset": "pets", "data": {"image_size": 32}}
    alone = local.client.post("/v1/sweeps?dry_run=true", json={"specs": [pets, pets]})
    assert alone.status_code == 200, alone.text
    answer = local.client.post("/v1/sweeps", json={"specs": [pets, SPEC]})
    (error,) = answer.json()["errors"]
    assert (error["code"], error["pointer"]) == ("several_datasets", "/specs")
    assert "digits, pets" in error["message"]


def test_halving_wants_its_library_and_jobs_that_can_be_compared(local: Service) -> None:
    weights = {**SPEC, "kind": "weights"}
    answer = local.client.post("/v1/sweeps", json={"specs": [weights], "strategy": "halving"})
    codes = [each["code"] for each in answer.json()["errors"]]
    assert codes == ["not_comparable"] + ([] if can_halve() else ["not_installed"])
    answer = local.client.post("/v1/sweeps", json={"base": SPEC, "strategy": "halving"})
    assert answer.status_code == (202 if can_halve() else 422)
    if can_halve():
        assert answer.json()["halving"] == {"min_epochs": 3, "factor": 3}


def test_cancelling_a_sweep_cancels_what_is_left(service: Service) -> None:
    jobs = [each["job_id"] for each in _start(service)["jobs"]]
    with service.database.writing() as session:
        rows = {str(job.id): job for job in session.scalars(select(Job))}
        rows[jobs[0]].state, rows[jobs[0]].ended_at = JobState.SUCCEEDED, NOON
        rows[jobs[1]].state = JobState.RUNNING
    url = service.client.get("/v1/sweeps").json()["items"][0]["links"]["cancel"]
    for _ in range(2):  # twice does no harm
        answer = service.client.post(url)
        assert answer.status_code == 202
        assert answer.json()["states"] == {"succeeded": 1, "cancelling": 1, "cancelled": 6}
    with service.database.writing() as session:
        running = session.scalars(select(Job).where(Job.state == JobState.CANCELLING)).one()
        running.state = JobState.CANCELLED
    refused = service.client.post(url)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


def _merged(service: Service) -> tuple[str, list[str]]:
    """Store a sweep of two finished jobs; the second is better where both have their largest."""
    jobs = [store_finished_job(service.database, service.settings.artifacts) for _ in range(2)]
    with service.database.writing() as session:
        for model in session.scalars(select(Model).where(Model.job_id == jobs[1].job_id)):
            model.validation_accuracy += 0.01 if model.macs == 400 else -0.01
        sweep = Sweep(
            id=new_id(), owner=session.get_one(Job, jobs[0].job_id).owner, strategy="grid",
            factor=3, min_epochs=1, created_at=NOON,
        )  # fmt: skip
        session.add(sweep)
        session.flush()
        for position, job in enumerate(jobs):
            session.add(
                Trial(
                    job_id=job.job_id, sweep_id=sweep.id, position=position, settings={},
                    images=50, rungs={},
                )
            )  # fmt: skip
    return f"/v1/sweeps/{sweep.id}", [str(job.job_id) for job in jobs]


def test_the_families_are_merged_into_one_front_that_names_the_job_of_each(
    service: Service,
) -> None:
    url, (first, second) = _merged(service)
    found = service.client.get(url).json()
    assert (found["ended"], found["states"]) == (True, {"succeeded": 2})
    front = [(each["job_id"], each["macs"]) for each in found["family"]["items"]]
    assert front == [(first, 60), (first, 100), (first, 300), (second, 400)]
    assert found["training_macs"] == sum(each["training_macs"] for each in found["jobs"])
    assert found["jobs"][0]["training_macs"] == 3 * (1000 + 1000) * 50  # two epochs of its path
    every = service.client.get(f"{url}?pareto=false").json()["family"]["items"]
    assert len(every) == 10


def test_the_epochs_of_annealing_count_as_training_and_not_as_epochs_to_compare(
    service: Service,
) -> None:
    url, (first, second) = _merged(service)
    with service.database.writing() as session:
        session.get_one(PathStep, (uuid.UUID(second), 20)).phase = "anneal"
    jobs = {each["job_id"]: each for each in service.client.get(url).json()["jobs"]}
    assert (jobs[first]["epochs"], jobs[second]["epochs"]) == (2, 1)
    assert jobs[first]["training_macs"] == jobs[second]["training_macs"]


def test_a_budget_on_a_sweep_chooses_among_all_jobs_and_leads_to_the_file(
    service: Service,
) -> None:
    url, (first, second) = _merged(service)
    for query, job in (("max_macs=300", first), ("", second), ("min_accuracy=0.955", second)):
        chosen = service.client.get(f"{url}?{query}").json()["family"]["chosen"]
        assert chosen["job"] == job
        file = service.client.get(chosen["request"]["path"])
        assert file.headers["Slbi-Model"] == chosen["model"]
    near = service.client.get(f"{url}?max_bytes=10").json()["family"]["nearest"]
    assert service.client.get(near["request"]["path"]).headers["Slbi-Model"] == near["model"]


def test_a_sweep_that_did_not_change_is_not_sent_twice(service: Service) -> None:
    url, _ = _merged(service)
    etag = service.client.get(url).headers["ETag"]
    assert service.client.get(url, headers={"If-None-Match": etag}).status_code == 304
    with service.database.writing() as session:
        session.scalars(select(Job).limit(1)).one().state = JobState.RUNNING
    changed = service.client.get(url, headers={"If-None-Match": etag})
    assert (changed.status_code, "Retry-After" in changed.headers) == (200, True)


def test_a_job_that_its_sweep_stopped_says_why_and_one_that_made_it_first_does_not(
    service: Service,
) -> None:
    url, jobs = _merged(service)
    with service.database.writing() as session:
        for trial in session.scalars(select(Trial)):
            trial.stopped = "It was the worse one."
        session.scalars(select(Job).order_by(Job.id).limit(1)).one().state = JobState.CANCELLED
    told = {each["job_id"]: each["stopped"] for each in service.client.get(url).json()["jobs"]}
    assert told == {jobs[0]: "It was the worse one.", jobs[1]: None}


def test_sweeps_are_listed_newest_first_in_pages(service: Service) -> None:
    one = {"axes": {}, "base": SPEC}
    started = [_start(service, **one, label=f"number {n}")["id"] for n in range(3)]
    page = service.client.get("/v1/sweeps?limit=2").json()
    assert [each["id"] for each in page["items"]] == started[:0:-1]
    rest = service.client.get(page["next"]).json()
    assert ([each["id"] for each in rest["items"]], rest["next"]) == (started[:1], None)


def test_the_jobs_of_a_sweep_are_listed_alone_page_by_page(service: Service) -> None:
    started, other = _start(service), _start(service)
    store_job(service.database)
    wanted = [each["job_id"] for each in started["jobs"]]
    query = {"sweep": started["id"], "limit": 5}
    first = service.client.get("/v1/jobs", params=query).json()
    second = service.client.get(first["next"]).json()
    assert [job["id"] for job in first["items"] + second["items"]] == sorted(wanted, reverse=True)
    assert second["next"] is None

    service.client.post(f"/v1/jobs/{wanted[0]}/cancel")
    for state, number in (("cancelled", 1), ("queued", 7)):
        found = service.client.get("/v1/jobs", params={"sweep": started["id"], "state": state})
        assert len(found.json()["items"]) == number
    assert other["states"] == {"queued": 8}


def test_a_sweep_that_is_not_there_or_of_others_has_no_jobs_as_an_unknown_label_has_none(
    service: Service,
) -> None:
    started = _start(service)
    stranger = service.client_with_key()
    for client, query in (
        (service.client, f"sweep={new_id()}"),
        (service.client, "label=nobody"),
        (stranger, f"sweep={started['id']}"),
    ):
        answer = client.get(f"/v1/jobs?{query}")
        assert (answer.status_code, answer.json()["items"]) == (200, [])


def test_nobody_else_sees_a_sweep(service: Service) -> None:
    started = _start(service)
    stranger = service.client_with_key()
    assert stranger.get("/v1/sweeps").json()["items"] == []
    for method, url in (("GET", ""), ("POST", "/cancel")):
        answer = stranger.request(method, f"/v1/sweeps/{started['id']}{url}")
        assert answer.status_code == 404
    assert service.client.get(f"/v1/sweeps/{started['id']}").json()["states"] == {"queued": 8}
