from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given

from service.api.questions import CheckpointQuery
from service.jobs.budgets import MEASURE_OF, Budget, choose, explain, nearest
from service.jobs.measures import measured
from service.store.family import Member
from tests.service.members import budgets, families, member

FAMILY = [
    member(position=0, macs=100, params=10, size=1000, latency_ms=1.0, accuracy=0.7),
    member(position=1, macs=300, params=20, size=2000, latency_ms=2.0, accuracy=0.8),
    member(position=2, macs=200, params=40, size=4000, accuracy=0.9, kind="tuned"),
]


def _within(each: Member, budget: Budget) -> bool:
    """Say word for word whether a model is within every bound."""
    model = each.model
    return (
        (budget.max_macs is None or model.macs <= budget.max_macs)
        and (budget.max_params is None or model.params <= budget.max_params)
        and (budget.max_bytes is None or each.artifact.bytes <= budget.max_bytes)
        and (
            budget.max_latency_ms is None
            or (model.latency_ms is not None and model.latency_ms <= budget.max_latency_ms)
        )
        and (budget.min_accuracy is None or model.validation_accuracy >= budget.min_accuracy)
        and budget.kind in {None, model.kind}
        and model.dataset is None
    )


@given(family=families(), budget=budgets)
def test_the_chosen_one_is_within_all_bounds_and_none_within_is_more_accurate(
    family: list[Member], budget: Budget
) -> None:
    within = [each for each in family if _within(each, budget)]
    chosen = choose(family, budget)
    if chosen is None:
        assert within == []
        return
    assert chosen in within
    best = max(each.model.validation_accuracy for each in within)
    assert chosen.model.validation_accuracy == best
    equal = [each for each in within if each.model.validation_accuracy == best]
    assert chosen.model.macs == min(each.model.macs for each in equal)


@given(family=families(least=1), budget=budgets)
def test_the_request_of_the_nearest_fetches_the_nearest(
    family: list[Member], budget: Budget
) -> None:
    if choose(family, budget) is not None:
        return
    found = nearest(family, budget, "safetensors")
    if found is None:
        assert all(each.model.dataset is not None for each in family)
        return
    near, told = found
    query = {
        name: values[0] for name, values in parse_qs(urlsplit(told.request["path"]).query).items()
    }
    assert choose(family, CheckpointQuery.model_validate(query).budget) is near


@given(family=families(least=1), budget=budgets)
def test_no_other_of_its_kind_misses_the_bounds_by_less(
    family: list[Member], budget: Budget
) -> None:
    found = nearest(family, replace(budget, max_latency_ms=None), "safetensors")
    if found is None or choose(family, replace(budget, max_latency_ms=None)) is not None:
        return
    near, told = found

    def excess(each: Member) -> float:
        over = 0.0
        for bound, limit in budget.bounds.items():
            value = measured(each, MEASURE_OF[bound])
            if bound == "max_latency_ms" or value is None:
                continue
            short = limit - value if bound == "min_accuracy" else value - limit
            over += max(0.0, short / limit) if short > 0 else 0.0
        return over

    rivals = [
        each for each in family if each.model.dataset is None and each.model.kind == near.model.kind
    ]
    assert told.excess == pytest.approx(min(map(excess, rivals)))


@given(family=families(least=1), budget=budgets)
def test_a_bound_binds_if_and_only_if_it_refuses_one_more_accurate(
    family: list[Member], budget: Budget
) -> None:
    chosen = choose(family, budget)
    if chosen is None:
        return
    for each in explain(family, budget, chosen).bounds:
        alone = Budget(**{each.bound: each.limit}, kind=budget.kind)  # type: ignore[arg-type]
        refused = [
            other
            for other in family
            if other.model.validation_accuracy > chosen.model.validation_accuracy
            and budget.kind in {None, other.model.kind}
            and other.model.dataset is None
            and not _within(other, alone)
        ]
        assert each.binds == bool(refused)
        assert each.margin is not None
        assert each.margin >= 0


def test_the_reason_names_the_bounds_the_margins_and_what_binds() -> None:
    budget = Budget(max_macs=350, max_bytes=2500, min_accuracy=0.5)
    chosen = choose(FAMILY, budget)
    assert chosen is FAMILY[1]
    why = explain(FAMILY, budget, chosen)
    assert why.model == FAMILY[1].model.id
    assert "number 1" in why.reason
    assert "0.8000, of the 2 of 3 models that fit max_macs 350, max_bytes 2500 and" in why.reason
    assert "max_bytes binds: it refuses a more accurate one" in why.reason
    assert "50 of max_macs, 500 of max_bytes and 0.3 of min_accuracy" in why.reason
    assert [(each.bound, each.margin, each.binds) for each in why.bounds] == [
        ("max_macs", 50, False),
        ("max_bytes", 500, True),
        ("min_accuracy", pytest.approx(0.3), False),
    ]
    assert [each.share for each in why.bounds[:2]] == [50 / 350, 500 / 2500]


def test_without_a_bound_the_most_accurate_is_chosen() -> None:
    chosen = choose(FAMILY, Budget())
    assert chosen is FAMILY[2]
    why = explain(FAMILY, Budget(), chosen)
    assert why.bounds == ()
    assert "of 3 models, without any bound." in why.reason


def test_of_equally_accurate_ones_the_cheapest_is_chosen_and_the_reason_says_so() -> None:
    twins = [member(position=0, macs=9), member(position=1, macs=8), member(position=2, macs=8)]
    chosen = choose(twins, Budget())
    assert chosen is twins[1]
    assert "the fewest MACs of those that reach it" in explain(twins, Budget(), chosen).reason


def test_a_model_that_was_not_measured_fits_no_bound_on_that() -> None:
    assert choose(FAMILY, Budget(max_latency_ms=9.0)) is FAMILY[1]
    assert choose(FAMILY[2:], Budget(max_latency_ms=9.0)) is None
    found = nearest(FAMILY[2:], Budget(max_latency_ms=9.0), "safetensors")
    assert found is not None
    assert "its latency was not measured" in found[1].reason
    assert found[1].excess is None
    assert "max_latency_ms" not in found[1].request["path"]


def test_the_nearest_says_by_how_much_it_misses_each_bound() -> None:
    found = nearest(FAMILY, Budget(max_macs=80, min_accuracy=0.65, kind="grown"), "onnx")
    assert found is not None
    near, told = found
    assert near is FAMILY[0]
    assert "it misses max_macs by 20 (25.0%)." in told.reason
    assert told.excess == pytest.approx(0.25)
    assert [(each.bound, each.value, each.margin) for each in told.bounds] == [
        ("max_macs", 100, -20),
        ("min_accuracy", 0.7, pytest.approx(0.05)),
    ]
    assert told.request == {
        "method": "GET",
        "path": f"/v1/jobs/{near.model.job_id}/checkpoint"
        "?max_macs=100&min_accuracy=0.65&kind=grown&format=onnx",
    }


def test_where_none_is_of_the_kind_asked_for_the_nearest_is_of_another_and_says_so() -> None:
    found = nearest(FAMILY, Budget(max_macs=100, kind="pruned"), "safetensors")
    assert found is not None
    assert found[0] is FAMILY[0]
    assert "it is grown, not pruned" in found[1].reason
    assert "kind" not in found[1].request["path"]
