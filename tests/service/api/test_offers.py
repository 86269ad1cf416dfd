from datetime import UTC, datetime, timedelta

import jsonschema
import pytest

from service.contract import JobState
from service.store.ids import new_id
from service.store.tables import Attempt, Worker
from tests.service.running import SPEC, Service, store_job


def test_backbones_come_in_short_with_the_schema_of_a_spec(local: Service) -> None:
    answer = local.client.get("/v1/backbones")
    found = {each["name"]: each for each in answer.json()["items"]}
    assert {"lenet5", "vgg11", "vgg11_imagenet", "resnet20", "resnet18", "vit_b_16"} <= set(found)
    assert found["lenet5"]["stems"][0]["only_sizes"] == [28, 32]
    assert [stem["name"] for stem in found["mobilenet_v2"]["stems"]] == ["standard", "small"]
    assert found["resnet18"]["published"]["params"] == 11_689_512
    jsonschema.validate(SPEC, answer.json()["settings"])
    assert len(answer.content) < 100_000


def test_one_backbone_tells_its_groups_and_layers(local: Service) -> None:
    found = local.client.get("/v1/backbones/convnext_tiny").json()
    groups = {each["name"]: each for each in found["groups"]}
    assert len(groups) == found["group_count"]
    assert groups["features.0.0"]["standard_width"] == 96
    assert {each["fixed"] for each in found["groups"]} == {None}
    assert found["layers"][0] == {"name": "net.features.0.0", "kind": "conv", "called": True}
    attention = local.client.get("/v1/backbones/swin_t").json()["layers"]
    assert {each["name"].rpartition(".")[2] for each in attention if not each["called"]} == {
        "qkv",
        "proj",
    }


def test_a_backbone_that_there_is_not_is_not_found(local: Service) -> None:
    answer = local.client.get("/v1/backbones/lenet6")
    assert answer.status_code == 404
    assert "'lenet6'" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/backbones", "/v1/backbones/resnet18"])
def test_backbones_that_a_client_has_are_not_sent_again(local: Service, path: str) -> None:
    first = local.client.get(path)
    again = local.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_data_sets_say_whether_they_are_present_and_how_to_get_them(local: Service) -> None:
    found = {each["name"]: each for each in local.client.get("/v1/datasets").json()["items"]}
    assert found["digits"]["present"] is True
    assert found["cifar10"]["present"] is False
    assert "CIFAR10" in found["cifar10"]["how_to_get"]
    assert found["digits"]["classes"] == 10


def test_a_folder_of_images_is_offered_and_can_be_submitted(local: Service) -> None:
    for name in ("cats", "dogs"):
        folder = local.settings.datasets[0] / "pets" / "train" / name
        folder.mkdir(parents=True)
        (folder / "1.png").touch()
    found = {each["name"]: each for each in local.client.get("/v1/datasets").json()["items"]}
    assert (found["pets"]["kind"], found["pets"]["classes"]) == ("folder", 2)

    spec = {"dataset": "pets", "backbone": "vgg11"}
    assert local.client.post("/v1/jobs", json=spec).status_code == 202
    told = local.client.post("/v1/jobs?dry_run=true", json=spec).json()
    assert told["now"]["macs"] is None
    assert "image_size" in told["time"]["reason"]
    sized = {**spec, "data": {"image_size": 32}}
    assert local.client.post("/v1/jobs?dry_run=true", json=sized).json()["now"]["macs"] > 0


def test_workers_are_listed_by_what_was_heard_of_them(service: Service) -> None:
    now = datetime.now(UTC)
    heard = {"alive": 1, "silent": 60, "forgotten": 90_000}
    with service.database.writing() as session:
        for host, seconds in heard.items():
            seen = now - timedelta(seconds=seconds)
            session.add(Worker(id=new_id(), host=host, pid=1, started_at=seen, heartbeat_at=seen))
        session.add(
            Worker(
                id=new_id(), host="stopped", pid=1, started_at=now, heartbeat_at=now, stopped_at=now
            )
        )
    items = service.client.get("/v1/workers").json()["items"]
    assert [item["host"] for item in items] == ["stopped", "alive", "silent"]
    assert all(item["state"] == item["host"] for item in items)


def test_a_worker_shows_which_attempt_at_which_job_is_its_own(service: Service) -> None:
    now = datetime.now(UTC)
    worker_id, stalled = new_id(), new_id()
    job_id = store_job(service.database, label="mine", state=JobState.RUNNING, fence=2, attempts=2)
    with service.database.writing() as session:
        for host, each in (("works", worker_id), ("stalled", stalled)):
            row = Worker(id=each, host=host, pid=1, started_at=now, heartbeat_at=now, job_id=job_id)
            session.add(row)
        for fence, each in ((1, stalled), (2, worker_id)):
            session.add(
                Attempt(job_id=job_id, fence=fence, worker_id=each, host="here", started_at=now)
            )
    shown = {each["host"]: each for each in service.client.get("/v1/workers").json()["items"]}
    assert {each["job_id"] for each in shown.values()} == {str(job_id)}
    assert {each["label"] for each in shown.values()} == {"mine"}
    assert (shown["works"]["attempt"], shown["stalled"]["attempt"]) == (2, None)
