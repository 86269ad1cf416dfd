import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.jobs.targets import too_little, wrong_settings
from service.spec.growth import GrowthSpec
from slbi.growth.stages import least_compute
from tests.service.running import SPEC, Service
from worker.training.config import GrowthConfig

TARGETS = [{"share": 0.01}, {"share": 0.1}]
KNOBS = {"when": "both", "patience": 2, "new_rate": 0.5, "schedule": "cosine"}


@given(
    macs=st.lists(st.integers(1, 10**6), min_size=1, max_size=6, unique=True).map(sorted),
    hold=st.floats(0.01, 0.99),
    batch=st.integers(2, 1024),
    parts=st.none() | st.lists(st.floats(1e-3, 1e3), min_size=6, max_size=6),
)
def test_compute_is_refused_where_the_worker_refuses_it_too(
    macs: list[int], hold: float, batch: int, parts: list[float] | None
) -> None:
    split = None if parts is None else parts[: len(macs)]
    told = {"targets": [{"max_macs": each} for each in macs], "hold": hold, "split": split}
    steps = [3 * each * batch for each in macs]
    enough = least_compute(steps, hold=hold, split=split)

    def refused(compute: int) -> int:
        growth = GrowthSpec.model_validate({**told, "max_training_macs": compute})
        return len(list(too_little(growth, macs[-1], images=9000, batch=batch, epochs=1)))

    assert refused(enough) == 0
    assert refused(4 * steps[-1] - 1) == 1
    if split is not None:
        assert refused(enough - enough // 1000 - 2 * len(steps)) == 1


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
