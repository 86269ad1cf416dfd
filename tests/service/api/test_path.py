from io import BytesIO
from typing import Any

import numpy as np
import pytest

from service.store.tables import PathLayer, PathStep, PathSupport
from tests.service.running import FinishedJob, Service


def _path(service: Service, job: FinishedJob, query: str = "") -> dict[str, Any]:
    answer = service.client.get(f"/v1/jobs/{job.job_id}/path{query}")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_a_path_gives_curves_steps_and_growth(service: Service, finished: FinishedJob) -> None:
    path = _path(service, finished)
    assert [(layer["name"], layer["layer"]) for layer in path["layers"]] == [
        ("conv2", 0),
        ("conv10", 1),
    ]
    assert path["layers"][0]["n_filters"] == [3, 5]
    assert path["layers"][0]["n_active"] == [2, 4]
    assert [step["validation_accuracy"] for step in path["steps"]] == [0.5, 0.75]
    (growth,) = path["growth"]
    assert (growth["name"], growth["before"], growth["after"]) == ("conv2", 3, 5)
    assert growth["reason"] == "fill 0.67 reached 0.50"


@pytest.mark.parametrize("layer", ["conv10", "1"])
def test_a_layer_is_picked_by_name_or_number(
    service: Service, finished: FinishedJob, layer: str
) -> None:
    path = _path(service, finished, f"?layer={layer}")
    assert [each["name"] for each in path["layers"]] == ["conv10"]
    assert path["growth"] == []
    assert len(path["steps"]) == 2


def test_steps_are_picked_by_bounds_that_count(service: Service, finished: FinishedJob) -> None:
    assert [step["step"] for step in _path(service, finished, "?from=10&to=10")["steps"]] == [10]
    late = _path(service, finished, "?from=11")
    assert [step["step"] for step in late["steps"]] == [20]
    assert late["layers"][0]["n_filters"] == [5]
    assert late["growth"] == []


def test_npz_holds_every_bit(service: Service, finished: FinishedJob) -> None:
    answer = service.client.get(f"/v1/jobs/{finished.job_id}/path?format=npz")
    with np.load(BytesIO(answer.content), allow_pickle=False) as held:
        arrays = dict(held)
    assert arrays["layers"].tolist() == ["conv2", "conv10"]
    assert arrays["step"].tolist() == [10, 20]
    assert arrays["loss"].tolist() == [1.5, 0.5]
    assert arrays["phase"].tolist() == ["grow", "grow"]
    assert arrays["n_filters/conv2"].tolist() == [3, 5]
    assert arrays["support/conv2"].tolist() == [[1, 0, 1, 0, 0], [1, 1, 1, 0, 1]]
    assert np.flatnonzero(arrays["support/conv10"][0]).tolist() == [0, 7, 8]
    assert np.flatnonzero(arrays["support/conv10"][1]).tolist() == [8]
    assert arrays["growth/after"].tolist() == [5]


def test_a_step_of_annealing_is_a_step_like_any_other(
    service: Service, finished: FinishedJob
) -> None:
    with service.database.writing() as session:
        session.get_one(PathStep, (finished.job_id, 20)).phase = "anneal"
    assert [step["phase"] for step in _path(service, finished)["steps"]] == ["grow", "anneal"]
    answer = service.client.get(f"/v1/jobs/{finished.job_id}/path?format=npz")
    with np.load(BytesIO(answer.content), allow_pickle=False) as held:
        assert held["phase"].tolist() == ["grow", "anneal"]


def test_of_single_weights_there_are_counts_and_no_bits(
    service: Service, finished: FinishedJob
) -> None:
    with service.database.writing() as session:
        layer = {"job_id": finished.job_id, "layer": 2}
        session.add(
            PathLayer(**layer, name="fc", kind="linear", growable=False, structure="element")
        )
        for step, active in ((10, 5), (20, 700)):
            counts = {"n_filters": 10**6, "n_active": active, "bits": b""}
            session.add(PathSupport(**layer, step=step, **counts))
        session.get_one(PathStep, (finished.job_id, 20)).support_accuracy = 0.25
    path = _path(service, finished)
    assert [layer["structure"] for layer in path["layers"]] == ["filter", "filter", "element"]
    assert path["layers"][2]["n_active"] == [5, 700]
    assert [step["support_accuracy"] for step in path["steps"]] == [None, 0.25]

    answer = service.client.get(f"/v1/jobs/{finished.job_id}/path?format=npz")
    with np.load(BytesIO(answer.content), allow_pickle=False) as held:
        arrays = dict(held)
    assert arrays["structure"].tolist() == ["filter", "filter", "element"]
    assert "support/fc" not in arrays
    assert arrays["n_filters/fc"].tolist() == [10**6, 10**6]
    assert arrays["n_active/fc"].tolist() == [5, 700]
    assert arrays["n_active/conv2"].tolist() == [2, 4]
    assert np.isnan(arrays["support_accuracy"][0])
    assert arrays["support_accuracy"][1] == 0.25


def test_npz_has_the_counts_of_the_curves(service: Service, finished: FinishedJob) -> None:
    path = _path(service, finished)
    answer = service.client.get(f"/v1/jobs/{finished.job_id}/path?format=npz")
    with np.load(BytesIO(answer.content), allow_pickle=False) as held:
        for layer in path["layers"]:
            assert held[f"support/{layer['name']}"].sum(axis=1).tolist() == layer["n_active"]
