from typing import Any

import pytest
from sqlalchemy import func, select

from service.store.tables import Job
from slbi.nets import backbones
from tests.service.running import SPEC, Service


@pytest.mark.parametrize(
    ("change", "pointer", "code", "told"),
    [
        (
            {"growth": {"targets": [{"max_macs": 1}]}},
            "/growth/targets/0",
            "start_over_cap",
            "max_macs must be at least",
        ),
        (
            {"growth": {"targets": [{"share": 0.01}], "start": 64}},
            "/growth/targets/0",
            "start_over_cap",
            "the first network",
        ),
        (
            {"growth": {"targets": [{"share": 0.2}, {"share": 0.1}]}},
            "/growth/targets/1",
            "must_rise",
            "targets must rise",
        ),
        (
            {"growth": {"targets": [{"share": 0.2}, {"max_params": 900_000}]}},
            "/growth/targets/1",
            "other_measures",
            "max_params behind max_macs",
        ),
        (
            {"growth": {"targets": [{"max_latency_ms": 2}]}},
            "/growth/targets/0",
            "value_error",
            "share, max_macs or max_params",
        ),
        (
            {"growth": {"targets": [{"share": 0.2, "max_macs": 9}]}},
            "/growth/targets/0",
            "value_error",
            "got both",
        ),
        (
            {"growth": {"targets": [{"share": 0.2}], "max_macs": 900_000}},
            "/growth/max_macs",
            "left_to_targets",
            "left to the targets",
        ),
        (
            {"growth": {"targets": [{"share": 0.2}], "mode": "restart"}},
            "/growth/mode",
            "left_to_targets",
            "carry",
        ),
        (
            {"growth": {"targets": [{"share": 0.2}], "max_training_macs": 10**6}},
            "/growth/max_training_macs",
            "too_little",
            "two steps of growth and two of annealing, got 1000000",
        ),
        ({"growth": {"where": "alike"}}, "/growth/where", "needs_targets", "full or gain"),
    ],
)
def test_bad_targets_are_refused_with_their_place_and_store_nothing(
    local: Service, change: dict[str, Any], pointer: str, code: str, told: str
) -> None:
    answer = local.client.post("/v1/jobs", json={**SPEC, **change})
    assert answer.status_code == 422
    errors = {each["pointer"]: each for each in answer.json()["errors"]}
    assert errors[pointer]["code"] == code
    assert told in errors[pointer]["message"]
    with local.database.reading() as session:
        assert session.execute(select(func.count()).select_from(Job)).scalar_one() == 0


def test_a_dry_run_of_targets_tells_first_and_last_network_and_the_compute(local: Service) -> None:
    growth = {"targets": [{"share": 0.02}, {"share": 0.1}], "max_training_macs": 10**12}
    told = local.client.post("/v1/jobs?dry_run=true", json={**SPEC, "growth": growth}).json()
    net = backbones.build("vgg11", in_channels=1, size=8, classes=10, device="meta")
    whole = net.cost()[1]
    assert 0.9 * 0.02 * whole < told["now"]["macs"] <= 0.02 * whole
    assert 0.9 * 0.1 * whole < told["at_most"]["macs"] <= 0.1 * whole
    assert told["training"]["most_macs"] == told["training"]["least_macs"] == 10**12

    del growth["max_training_macs"]
    tune = {"epochs": 3}
    spec = {**SPEC, "growth": growth, "tune": tune}
    told = local.client.post("/v1/jobs?dry_run=true", json=spec).json()
    images = round(1438 * 0.9)
    assert told["training"]["most_macs"] == 3 * told["at_most"]["macs"] * images * 3


def test_the_least_compute_that_is_named_is_taken_and_one_less_is_not(local: Service) -> None:
    def asked(macs: int) -> tuple[int, str]:
        growth = {"targets": [{"share": 0.02}, {"share": 0.1}], "max_training_macs": macs}
        answer = local.client.post("/v1/jobs?dry_run=true", json={**SPEC, "growth": growth})
        return answer.status_code, answer.text

    told = asked(1)[1]
    least = int(told.split("at least ")[1].split(",")[0])
    assert asked(least)[0] == 200
    assert asked(least - 1)[0] == 422
