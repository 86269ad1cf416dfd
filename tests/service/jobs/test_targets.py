import pytest

from service.jobs.targets import wrong_settings
from service.spec.growth import GrowthSpec
from tests.service.running import SPEC, Service
from worker.training.config import GrowthConfig

TARGETS = [{"share": 0.01}, {"share": 0.1}]
KNOBS = {"when": "both", "patience": 2, "new_rate": 0.5, "schedule": "cosine"}


@pytest.mark.parametrize(
    ("name", "value", "needed"),
    [("mode", "restart", "carry"), ("when", "plateau", "fill"), ("schedule", "cosine", "constant")],
)
def test_what_is_of_rounds_alone_is_refused_with_targets_here_and_by_the_worker(
    name: str, value: str, needed: str
) -> None:
    growth = GrowthSpec.model_validate({"targets": TARGETS, name: value})
    (error,) = wrong_settings(growth)
    assert (error.pointer, error.code) == (f"/growth/{name}", "left_to_targets")
    assert error.message == f"{name} must be {needed} with targets, got {value!r}"
    with pytest.raises(ValueError, match=f"{name} must be {needed} with targets, got {value}"):
        GrowthConfig(**growth.model_dump(exclude_none=True))
    assert list(wrong_settings(growth.model_copy(update={name: needed}))) == []
    assert list(wrong_settings(growth.model_copy(update={"targets": None}))) == []


@pytest.mark.parametrize("split", [[1.0], [1.0, 2.0, 3.0]])
def test_a_split_of_another_length_is_refused_here_and_by_the_worker(split: list[float]) -> None:
    growth = GrowthSpec.model_validate({"targets": TARGETS, "split": split})
    (error,) = wrong_settings(growth)
    assert (error.pointer, error.code) == ("/growth/split", "other_length")
    assert error.message == f"split must be a number for each of 2 targets, got {len(split)}"
    with pytest.raises(ValueError, match="for each of 2 targets"):
        GrowthConfig(**growth.model_dump(exclude_none=True))
    assert list(wrong_settings(growth.model_copy(update={"split": [1.0, 2.0]}))) == []


@pytest.mark.parametrize("split", [[0.0, 1.0], [1.0, 1e7], [], "even"])
def test_a_split_out_of_its_range_is_refused_by_name(local: Service, split: object) -> None:
    growth = {"targets": TARGETS, "split": split}
    answer = local.client.post("/v1/jobs", json={**SPEC, "growth": growth})
    assert answer.status_code == 422
    pointers = {error["pointer"] for error in answer.json()["errors"]}
    assert pointers
    assert all(pointer.startswith("/growth/split") for pointer in pointers), pointers


def test_a_job_takes_the_knobs_of_growth_and_tells_their_defaults(local: Service) -> None:
    for growth, expected in (
        (KNOBS, KNOBS),
        ({}, {"when": "fill", "patience": 3, "new_rate": 1.0, "schedule": "constant"}),
    ):
        answer = local.client.post("/v1/jobs?dry_run=true", json={**SPEC, "growth": growth})
        assert answer.status_code == 200
        assert expected.items() <= answer.json()["spec"]["growth"].items()


@pytest.mark.parametrize(
    ("name", "value"),
    [("when", "full"), ("patience", 0), ("new_rate", 0), ("new_rate", 11), ("schedule", "step")],
)
def test_a_knob_out_of_its_range_is_refused_by_name(
    local: Service, name: str, value: object
) -> None:
    answer = local.client.post("/v1/jobs", json={**SPEC, "growth": {name: value}})
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {f"/growth/{name}"}
