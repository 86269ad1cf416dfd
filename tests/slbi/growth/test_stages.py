import math

import pytest

from slbi.growth.stages import (
    CALM_STEPS,
    Target,
    check_rising,
    check_split,
    least_compute,
    measuring,
    parts,
    rate,
    rooms,
    share,
)


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


STEPS = [2, 5, 12, 25, 50]
"""Compute of a step at each of five targets."""


@pytest.mark.parametrize(
    ("compute", "told"),
    [
        (5_000, (0.9, *(0.1 * step / 92 for step in STEPS[1:]))),
        (20_000, (0.26, 0.64, *(0.1 * step / 87 for step in STEPS[2:]))),
        (50_000, (0.26, 0.26, 0.38, 0.1 / 3, 0.2 / 3)),
        (10**9, (0.1625, 0.1625, 0.1625, 0.1625, 0.35)),
    ],
)
def test_the_largest_target_that_is_trained_well_gets_most(
    compute: int, told: tuple[float, ...]
) -> None:
    assert parts(compute, STEPS) == pytest.approx(told)
    assert parts(compute, STEPS[:1]) == (1.0,)


def test_little_compute_still_gives_all_targets_a_few_steps() -> None:
    assert parts(736, STEPS) == pytest.approx((0.5, *(4 * step / 736 for step in STEPS[1:])))
    assert parts(1, STEPS)[0] == 0.5


@pytest.mark.parametrize("split", [None, (1.0, 2.0, 0.5, 1.0, 1.0)])
@pytest.mark.parametrize("compute", [1000, 900_000])
def test_compute_is_shared_by_parts_and_none_is_left(
    compute: int, split: tuple[float, ...] | None
) -> None:
    spent: list[int] = []
    for served in range(5):
        spent.append(share(compute, sum(spent), STEPS, served, split))
    assert sum(spent) == compute
    wanted = parts(compute, STEPS) if split is None else [each / 5.5 for each in split]
    assert spent == pytest.approx([compute * part for part in wanted], abs=5)


@pytest.mark.parametrize("hold", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("split", [None, (1.0, 1.0, 1.0, 1.0, 0.1), (1e6, 1e6, 1e6, 1e6, 1e-6)])
def test_the_least_compute_gives_the_last_target_two_steps_of_both_kinds(
    hold: float, split: tuple[float, ...] | None
) -> None:
    least = least_compute(STEPS, hold=hold, split=split)
    spent = last = 0
    for served in range(5):
        last = share(least, spent, STEPS, served, split)
        spent += last
    assert min(int(last * hold), last - int(last * hold)) >= 100
    assert min(hold, 1 - hold) * last < 105


@pytest.mark.parametrize(
    ("left", "told"), [(6000, 300), (600, 80), (240, 40), (100, 16), (10, 1), (0, 0)]
)
def test_norms_are_measured_on_some_batches_however_little_is_left(left: int, told: int) -> None:
    assert measuring(left, 20) == told


@pytest.mark.parametrize(
    "split", [(1.0,), (1.0, 0.0), (1.0, 1e-7), (1.0, math.inf), (1.0, 1.0, 1.0)]
)
def test_a_split_is_a_number_for_each_target(split: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"split must be a number in .* for each of 2 targets"):
        check_split(split, 2)


@pytest.mark.parametrize(
    ("steps", "first", "told"),
    [
        (5 * CALM_STEPS, 9 * CALM_STEPS, 0.1),
        (CALM_STEPS // 10, 9 * CALM_STEPS, 0.001),
        (30, 60, 0.025),
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
