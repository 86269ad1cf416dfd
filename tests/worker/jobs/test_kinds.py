"""Each kind of job through the real training process, asked for and answered over HTTP."""

import os
import signal
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torchvision.models
from fastapi.testclient import TestClient
from safetensors.torch import load_file

from service.catalogue import Catalogue
from service.contract import JobState
from service.main import create_app
from service.store.ids import new_id
from slbi.growth.narrow import narrow, start_widths
from slbi.nets.graph.find import find
from tests.service.running import CountingQueue
from tests.worker.jobs.outcomes import files, points
from tests.yard import Yard, alive, running, wait_for
from worker.jobs.supervisor import Supervisor
from worker.training.checkpoint import load

pytestmark = pytest.mark.slow

Json = dict[str, Any]

FRESH: Mapping[str, Any] = {
    "dataset": "digits",
    "backbone": "vgg11",
    "widths": 8,
    "optim": {"batch": 64, "learning_rate": 0.05},
    "train": {"epochs": 2},
    "compute": {"threads": 1},
}
BRIEF: Mapping[str, Any] = {
    "optim": {"batch": 64},
    "finetune": {"epochs": 1},
    "compute": {"threads": 1},
}
CONV = "features.conv2.conv"


class Place:
    """A service and a worker at one database.

    Args:
        yard: where both are.
    """

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        app = create_app(yard.settings, yard.database, CountingQueue(), Catalogue.generated())
        self.client = TestClient(app, base_url="http://127.0.0.1")

    def supervisor(self) -> Supervisor:
        settings, database = self.yard.settings, self.yard.database
        return Supervisor(settings, database, worker_id=new_id(), device="cpu")

    def submit(self, spec: Mapping[str, Any]) -> str:
        answer = self.client.post("/v1/jobs", json=dict(spec))
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def run(self, *specs: Mapping[str, Any]) -> list[Json]:
        """Run jobs to their good end and return them as the service tells them."""
        ids = [self.submit(spec) for spec in specs]
        self.supervisor().run_available(threading.Event())
        jobs: list[Json] = [self.client.get(f"/v1/jobs/{job_id}").json() for job_id in ids]
        assert [job["state"] for job in jobs] == ["succeeded"] * len(jobs), jobs
        return jobs

    def models(self, job: Json) -> list[Json]:
        """Return the family in the order in which it came about."""
        items = self.client.get(job["links"]["models"]).json()["items"]
        return sorted(items, key=lambda model: str(model["id"]))

    def files(self, job: Json) -> dict[str, bytes]:
        """Return title -> content of what lies beside the models."""
        listed = self.client.get(job["links"]["artifacts"]).json()["items"]
        return {
            row["title"]: self.client.get(row["href"]).content for row in listed if row["title"]
        }

    def checkpoint(self, model: Json, target: Path) -> Path:
        target.write_bytes(self.client.get(model["artifact"]["href"]).content)
        return target


@pytest.fixture
def place(sqlite_yard: Yard) -> Place:
    return Place(sqlite_yard)


def test_a_trained_network_is_pruned_drawn_and_pruned_again_from_a_file(
    place: Place, tmp_path: Path
) -> None:
    (trained,) = place.run({"kind": "train", **FRESH, "twin": {"structure": "mixed"}})
    kinds = [model["kind"] for model in place.models(trained)]
    assert kinds[0] == "trained"
    assert set(place.files(trained)) == {"order.safetensors"}
    kept = {row["layer"]: row for row in trained["findings"]["layers"]}
    assert list(kept) == [*(f"conv{number}" for number in range(1, 9)), "classifier.weight"]
    path = place.client.get(trained["links"]["path"]).json()
    assert [step["phase"] for step in path["steps"]] == ["train", "train"]
    assert all(step["support_accuracy"] is not None for step in path["steps"])

    source = {"job": trained["id"], "model": place.models(trained)[0]["id"]}
    percent = {"percent": {"conv2": 50, "classifier.weight": 25}, "slice": False}
    pruned, drawn = place.run(
        {"kind": "prune", "source": source, "pruning": percent, **BRIEF},
        {
            "kind": "visualise",
            "source": source,
            "pictures": {"layers": [CONV], "steps": 1},
            "compute": {"threads": 1},
        },
    )
    family = place.models(pruned)
    assert [model["kind"] for model in family] == ["masked", "tuned"]
    assert set(pruned["findings"]["accuracy"]) >= {"source", "pruned", "tuned"}
    shares = {row["layer"]: row["kept"] for row in pruned["findings"]["layers"]}
    assert (shares["conv2"], shares["classifier.weight"]) == (4, 60)
    net, _ = load(place.checkpoint(family[1], tmp_path / "tuned.safetensors"))
    weight = net.get_parameter(f"{CONV}.weight")
    assert int((weight.abs().sum((1, 2, 3)) > 0).sum()) == 4  # also after it was tuned

    pictures = place.files(drawn)
    assert {f"{CONV}-weights.png", f"{CONV}-activation.png", "kept.png", "order.png"} <= set(
        pictures
    )
    assert all(content.startswith(b"\x89PNG") for content in pictures.values())
    assert drawn["findings"]["pictures"] == list(pictures)
    assert place.models(drawn) == []

    bare = tmp_path / "bare.safetensors"
    safetensors.torch.save_file(load_file(tmp_path / "tuned.safetensors"), bare)
    upload = place.client.post("/v1/uploads", content=bare.read_bytes()).json()["id"]
    (again,) = place.run(
        {
            "kind": "prune",
            "source": {"upload": upload},
            "dataset": "digits",
            "backbone": "vgg11",
            "pruning": {"max_params": 2000, "order": "norm"},
            **BRIEF,
        }
    )
    assert [model["kind"] for model in place.models(again)] == ["pruned", "tuned"]
    assert max(model["params"] for model in place.models(again)) <= 2000


def test_torchvisions_weights_that_were_sent_are_pruned_and_searched_for_a_ticket(
    place: Place, tmp_path: Path
) -> None:
    net = torchvision.models.alexnet(num_classes=7)
    found = find(net, (3, 64, 64))
    slim = narrow(net, start_widths(found, ratio=1 / 16), found=found)
    safetensors.torch.save_file(slim.state_dict(), tmp_path / "alexnet.safetensors")
    sent = (tmp_path / "alexnet.safetensors").read_bytes()
    same: dict[str, Any] = {
        "source": {"upload": place.client.post("/v1/uploads", content=sent).json()["id"]},
        "dataset": "digits",
        "backbone": "alexnet",
        "data": {"image_size": 64},
        "compute": {"threads": 1},
    }
    pruned, ticket = place.run(
        {
            "kind": "prune",
            **same,
            "pruning": {"percent": 60, "order": "norm", "multiple": 2, "exclude": ["*.0"]},
            "finetune": {"epochs": 0},
        },
        {
            "kind": "ticket",
            **same,
            "train": {"epochs": 1},
            "retrain": {"epochs": 1},
            "rivals": [],
            "start": "initial",
        },
    )
    for job in (pruned, ticket):
        assert any("for 10 classes instead of 7" in said for said in job["findings"]["adapted"])
    (model,) = place.models(pruned)
    whole = len(slim.get_parameter("features.0.weight"))
    assert model["widths"]["features.0"] == whole
    assert all(width % 2 == 0 for width in model["widths"].values())
    assert ticket["findings"]["start"] == "initial"


def test_single_weights_and_tickets_come_to_their_ends(place: Place) -> None:
    weights, ticket = place.run(
        {"kind": "weights", **FRESH, "finetune": {"epochs": 1}, "retrain": {"epochs": 1}},
        {
            "kind": "ticket",
            **FRESH,
            "mask": {"epoch": 1},
            "retrain": {"epochs": 1},
        },
    )
    assert [model["kind"] for model in place.models(weights)] == [
        "trained", "masked", "tuned", "ticket",
    ]  # fmt: skip
    assert set(place.files(weights)) == {"order.safetensors", "mask.safetensors", "kept.csv"}
    shares = weights["findings"]["layers"]
    assert {row["structure"] for row in shares} == {"element"}
    assert shares[-1]["layer"] == "classifier.weight"

    assert [model["kind"] for model in place.models(ticket)] == ["ticket", "random", "dense"]
    assert [arm["arm"] for arm in ticket["findings"]["arms"]] == ["ticket", "random", "dense"]
    assert ticket["findings"]["mask_epoch"] == 1
    assert set(place.files(ticket)) == {"order.safetensors", "mask.safetensors"}


def test_a_training_that_is_killed_amid_ends_as_one_left_alone(place: Place) -> None:
    yard = place.yard
    spec = {"kind": "train", **FRESH, "train": {"epochs": 8, "schedule": "drops", "drops": [6]}}
    (alone,) = place.run(spec)
    job_id = uuid.UUID(place.submit(spec))

    def epochs() -> int:
        progress = yard.job(job_id).progress
        return 0 if progress is None else int(progress["epoch"])

    with running(place.supervisor()):
        wait_for(lambda: epochs() >= 2)
        child = yard.attempts(job_id)[0].pid
        assert child is not None
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: not alive(child))
        wait_for(lambda: yard.state(job_id) == JobState.SUCCEEDED, 60)

    assert yard.outcomes(job_id) == ["lost", "succeeded"]
    assert (yard.attempts(job_id)[1].resumed_from or 0) > 0
    assert points(yard, job_id) == points(yard, uuid.UUID(alone["id"]))
    assert files(yard, job_id) == files(yard, uuid.UUID(alone["id"]))
    assert yard.job(job_id).findings == alone["findings"]
    assert yard.job(job_id).best_accuracy == alone["best_accuracy"]
