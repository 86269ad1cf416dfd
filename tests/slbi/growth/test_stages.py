import math

import pytest

from slbi.growth.stages import CALM_STEPS, Target, check_rising, parts, rate, rooms, share


def test_rounds_rise_by_one_factor_and_end_at_the_target() -> None:
    told = rooms((50, 1000), Target(max_macs=2000), rise=1.25, most=9)
    assert [room["max_macs"] for room in told] == [1189, 1414, 1681, 2000]


def test_a_network_that_is_there_has_one_round_and_few_steps_make_few_rounds() -> None:
    assert rooms((50, 2000), Target(max_macs=2000), rise=1.25, most=9) == [{"max_macs": 2000}]
    told = rooms((50, 1000), Target(max_macs=2000), rise=1.25, most=2)
    assert [room["max_macs"] for room in told] == [1414, 2000]


def test_every_limit_of_a_target_rises_and_the_furthest_tells_how_many_rounds() -> None:
    told = rooms((100, 1000), Target(max_macs=1100, max_params=400), rise=2.0, most=9)
    assert told == [{"max_macs": 1048, "max_params": 200}, {"max_macs": 1100, "max_params": 400}]


def test_parts_are_larger_at_both_ends_and_together_one() -> None:
    targets = [Target(max_macs=size) for size in (2, 5, 12, 25, 50)]
    found = parts(targets, 0.4)
    assert math.fsum(found) == pytest.approx(1)
    assert found == pytest.approx((0.271, 0.198, 0.162, 0.163, 0.206), abs=0.001)
    assert parts(targets[:1], 0.4) == (1.0,)
    flat = parts(targets, 0.0)
    assert flat[0] == pytest.approx(0.75 / 5 + 0.25 * 2 / 94)


@pytest.mark.parametrize("tilt", [0.0, 0.4, 1.0])
def test_compute_is_shared_by_parts_and_none_is_left(tilt: float) -> None:
    targets = [Target(max_macs=size) for size in (10, 20, 40)]
    left, spent = 900_000, []
    for served in range(3):
        spent.append(share(left, targets, served, tilt))
        left -= spent[-1]
    assert left == 0
    assert spent == pytest.approx([900_000 * part for part in parts(targets, tilt)], abs=3)


@pytest.mark.parametrize(
    ("steps", "first", "told"),
    [
        (5 * CALM_STEPS, 9 * CALM_STEPS, 0.1),
        (CALM_STEPS // 10, 9 * CALM_STEPS, 0.01),
        (30, 60, 0.05),
        (90, 60, 0.1),
        (60, 60, 0.1),
        (0, 0, 0.1),
    ],
)
def test_a_stage_of_few_steps_shakes_little_up(steps: int, first: int, told: float) -> None:
    assert rate(0.1, steps, first) == pytest.approx(told)


def test_a_target_needs_a_cost_that_is_counted() -> None:
    with pytest.raises(ValueError, match="max_macs or max_params, got neither"):
        Target(max_latency_ms=2.0)
    assert Target(max_macs=5, max_latency_ms=0.5).said() == "max_macs 5, max_latency_ms 0.5"


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (Target(max_params=300), "same measures, got max_macs 10, max_params 100 and max_params"),
        (Target(max_macs=10, max_params=100), "must rise"),
        (Target(max_macs=20, max_params=90), "must rise"),
    ],
)
def test_targets_through_which_no_network_grows_are_refused(second: Target, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check_rising([Target(max_macs=10, max_params=100), second])
    check_rising([Target(max_macs=10, max_params=100), Target(max_macs=10, max_params=101)])
