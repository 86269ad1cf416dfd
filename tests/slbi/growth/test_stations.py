from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slbi.growth.stages import Target, around, least_compute, main_target
from slbi.growth.stations import (
    FAR,
    STEPS,
    Station,
    called,
    least_station,
    numbered,
    on_the_way,
    station,
)

PASSES = 300
"""Forward passes that a step costs: of a hundred images."""


def halt(compute: float, *sizes: int, least: int = 30) -> Station | None:
    return station(int(compute), sizes, least, passes=PASSES, hold=0.5)


def test_growth_halts_at_what_the_compute_trains_well() -> None:
    enough = STEPS * PASSES
    # The target has a tenth, so the station has nine.
    assert halt(100 * enough, 1000) == Station(before=0, macs=90)
    assert halt(100 * enough, 200) is None, "the target itself has a thousand steps"
    assert halt(40 * enough, 90) == Station(before=0, macs=36)
    assert halt(40 * enough, 89) is None, "it is near"
    assert halt(20 * enough, 75) == Station(before=0, macs=30), "none is smaller than the start"
    assert halt(20 * enough, 74) is None, "it is near"


def test_growth_halts_between_two_targets_that_are_far_apart() -> None:
    enough = STEPS * PASSES
    # What is below a station has 1.3 / 3 of the compute, and what is above it a tenth.
    macs = int(100 * (1 - 1.3 / 3 - 0.1))
    assert halt(100 * enough, 18, 1000) == Station(before=1, macs=macs)
    assert halt(100 * enough, 19, 1000) is None, "the first target is near"
    assert halt(40 * enough, 7, 45) == Station(before=1, macs=18)
    assert halt(40 * enough, 7, 44) is None, "the second is"


def test_it_does_not_halt_where_the_rest_would_not_pay_for_the_last_target() -> None:
    sizes, steps = (1000,), [PASSES * 30, PASSES * 1000]
    enough = least_compute(steps, hold=0.5)
    assert halt(enough, *sizes) == Station(before=0, macs=30)
    assert halt(enough - 1, *sizes) is None
    assert enough > least_compute(steps[1:], hold=0.5)


@given(
    compute=st.integers(1, 10**12),
    sizes=st.lists(st.integers(30, 10**6), min_size=1, max_size=6, unique=True).map(sorted),
    hold=st.floats(0.05, 0.95),
)
def test_a_station_is_the_main_one_and_far_from_those_beside_it(
    compute: int, sizes: list[int], hold: float
) -> None:
    told = station(compute, sizes, 30, passes=PASSES, hold=hold)
    if told is None:
        return
    halts = [*sizes[: told.before], told.macs, *sizes[told.before :]]
    assert halts == sorted(halts)
    steps = [PASSES * size for size in halts]
    assert (main_target(compute, steps) or 0) == told.before
    parts = around(told.before, compute, steps)
    assert max(parts) <= 0.65 or parts[told.before] == max(parts)
    assert compute >= least_compute(steps, hold=hold)
    beside = halts[max(0, told.before - 1) : told.before + 2]
    assert all(after >= FAR * before for before, after in pairwise(beside))


def test_a_station_is_no_smaller_than_what_growth_starts_from() -> None:
    assert least_station(100, 320) == 100
    assert least_station(5, 320) == 10


def test_a_station_keeps_to_all_that_the_target_behind_it_says() -> None:
    targets = (
        Target(max_params=10, max_latency_ms=1.0),
        Target(max_params=90, max_latency_ms=2.0),
    )
    halts = on_the_way(targets, Station(before=1, macs=500))
    assert halts == (
        targets[0],
        Target(max_macs=500, max_params=90, max_latency_ms=2.0, asked=False),
        targets[1],
    )
    assert [called(halts, index) for index in range(3)] == [
        "target 1 of 2",
        "station before target 2 of 2",
        "target 2 of 2",
    ]
    assert [numbered(halts, index) for index in range(3)] == [1, 2, 2]
    assert on_the_way(targets, None) == targets


@pytest.mark.parametrize("compute", [0, 1])
def test_without_compute_there_is_no_station(compute: int) -> None:
    assert halt(compute, 1000) is None
