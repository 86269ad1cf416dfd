"""Growth toward targets of any network: what is spent, what comes of it, and what is refused."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from slbi.course.family import Grown
from slbi.course.grow import grow
from slbi.course.settings import Growth, Where
from slbi.growth.stages import CALM_STEPS, Target
from slbi.nets.count import count
from slbi.structure.path import StepRecord
from tests.slbi.course.own import Digits, Own

SHAPE = (1, 8, 8)
SHARES = (0.1, 0.3, 0.8)
IMAGES, BATCHES = 1400, 22
COMPUTE = 1_500_000_000
QUICK = Growth(targets=SHARES, compute=COMPUTE)
WHOLE = count(Own(), SHAPE)[1]

Make = Callable[[], nn.Module]


@pytest.fixture(scope="module")
def grown(digits: Digits) -> Grown:
    torch.manual_seed(0)
    return grow(Own(), digits.batches, shape=SHAPE, settings=QUICK, score=digits.score)


def test_every_target_has_an_annealed_network_that_fills_it(grown: Grown) -> None:
    tuned = [member for member in grown.members if member.kind == "tuned"]
    assert grown.ended == "all 3 targets are served"
    assert [member.origin for member in tuned] == [
        f"target {number} of 3: max_macs {int(share * WHOLE)}"
        for number, share in enumerate(SHARES, 1)
    ]
    for share, member in zip(SHARES, tuned, strict=True):
        limit = int(share * WHOLE)
        assert 0.85 * limit < member.macs <= limit
        assert count(member.net, SHAPE) == (member.params, member.macs)


def test_annealed_every_network_knows_more_and_the_next_one_begins_with_it(grown: Grown) -> None:
    assert [member.kind for member in grown.members] == ["grown", "tuned"] * 3
    for number, (held, served) in enumerate(
        zip(grown.members[::2], grown.members[1::2], strict=True), 1
    ):
        assert held.origin == f"before target {number}"
        assert held.found.widths == served.found.widths
        assert served.score > held.score - 0.01
    scores = [member.score for member in grown.members[1::2]]
    assert all(after > before - 0.01 for before, after in pairwise(scores))
    assert scores[-1] > 0.9


def test_the_network_only_grows_and_keeps_the_shares_of_the_one_given(grown: Grown) -> None:
    widths = [member.found.widths for member in grown.members]
    assert all(old[group] <= new[group] for old, new in pairwise(widths) for group in new)
    for each in widths:
        assert max(each.values()) - min(each.values()) <= 2


def test_the_whole_compute_is_spent_and_not_more(grown: Grown) -> None:
    step = 3 * 64 * max(member.macs for member in grown.members)
    assert COMPUTE - 2 * step < grown.compute <= COMPUTE
    trained = sum(
        3 * 64 * after.macs * (after.step - (before.step if before else 0))
        for before, after in zip([None, *_points(grown)], _points(grown), strict=False)
    )
    assert 0.95 * COMPUTE < trained < 1.01 * COMPUTE


def test_a_split_says_how_much_of_the_compute_each_target_gets(own: Make, digits: Digits) -> None:
    def first_part(split: tuple[float, ...]) -> int:
        settings = replace(QUICK, split=split, compute=COMPUTE // 4)
        points = _points(grow(own(), digits.batches, shape=SHAPE, settings=settings))
        served = [before.step for before, after in pairwise(points) if before.phase == "anneal"]
        return served[0]

    # Half of the compute instead of a third; the first rounds, of narrow networks, cost less.
    assert 1.4 < first_part((2.0, 1.0, 1.0)) / first_part((1.0, 1.0, 1.0)) < 2


def test_the_rate_stays_while_the_network_grows_and_then_falls_to_nothing(grown: Grown) -> None:
    points = _points(grown)
    stages = _stages(points)
    assert len(stages) == len(SHARES)
    for stage in stages:
        held = {point.learning_rate for point in stage if point.phase == "grow"}
        assert len(held) == 1
        fall = [point.learning_rate for point in stage if point.phase == "anneal"]
        assert all(after < before for before, after in pairwise([*held, *fall]))
        assert fall[-1] < 1e-9


def test_a_stage_of_fewer_steps_has_a_lower_rate(grown: Grown) -> None:
    stages = _stages(_points(grown))
    steps = [
        stage[-1].step - (before[-1].step if before else 0)
        for before, stage in zip([[], *stages], stages, strict=False)
    ]
    rates = [stage[0].learning_rate for stage in stages]
    assert rates[0] == QUICK.lr
    for rate, number in zip(rates[1:], steps[1:], strict=True):
        assert number < steps[0]
        # The rate is set by steps at the targets; most cost less, as the network grows.
        told = math.sqrt(rate / QUICK.lr)
        assert 0.5 < told / (number / min(steps[0], CALM_STEPS)) < 2


def test_where_the_rate_is_low_the_twins_pull_little_too(own: Make, digits: Digits) -> None:
    settings = replace(QUICK, split=(1.0, 0.02, 0.04))
    told = grow(own(), digits.batches, shape=SHAPE, settings=settings)
    moved = [
        max(_moved(held.net, served.net))
        for held, served in zip(told.members[::2], told.members[1::2], strict=True)
    ]
    first, *short = moved
    assert first > 0.1
    assert max(short) < 1e-4, "the rate is a thousandth and less, and twins are not exempt"


def test_legs_go_on_within_an_epoch_and_points_lie_at_its_ends(grown: Grown) -> None:
    points = _points(grown)
    lengths = [after.step - before.step for before, after in pairwise(points)]
    assert 0 < min(lengths) < max(lengths) == BATCHES
    assert all(point.epoch == point.step // BATCHES for point in points)
    assert any(point.step % BATCHES for point in points)


def test_every_batch_of_an_epoch_is_learned_before_the_next_one_begins(
    own: Make, digits: Digits
) -> None:
    seen = []

    def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(digits.batches())

    def loss(said: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append(len(labels))
        return nn.functional.cross_entropy(said, labels)

    grow(own(), batches, shape=SHAPE, settings=replace(QUICK, compute=COMPUTE // 4), loss=loss)
    epoch = [len(labels) for _, labels in digits.batches()]
    assert len(seen) > 3 * len(epoch)
    assert seen == (epoch * len(seen))[: len(seen)]


def test_the_path_tells_every_widening(grown: Grown) -> None:
    widths = {layer.index: 0 for layer in grown.path.layer_records}
    growth = list(grown.path.growth_records)
    for point in grown.path.step_records:
        while growth and growth[0].step < point.step:
            change = growth.pop(0)
            assert widths[change.layer] in {0, change.before}
            assert change.reason.startswith("toward target ")
            assert f"fill {change.fill:.2f}" in change.reason
            widths[change.layer] = change.after
        for support in point.support:
            assert widths[support.layer] in {0, support.n_filters}
    assert not growth
    # So small are the first networks that in some rounds no filter fits.
    rounds = {record.round for record in grown.path.growth_records}
    assert rounds <= set(range(_points(grown)[-1].round))
    assert len(rounds) > 5


def test_equal_calls_give_equal_networks(own: Make, digits: Digits) -> None:
    settings = replace(QUICK, compute=COMPUTE // 8)
    one, other = (
        grow(own(), digits.batches, shape=SHAPE, settings=settings).members[-1].net
        for _ in range(2)
    )
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


@pytest.mark.parametrize("where", ["full", "gain"])
def test_other_choices_of_groups_serve_the_targets_too(
    own: Make, digits: Digits, where: Where
) -> None:
    settings = replace(QUICK, compute=COMPUTE // 8, where=where)
    told = grow(own(), digits.batches, shape=SHAPE, settings=settings)
    for share, member in zip(SHARES, told.members[1::2], strict=True):
        assert 0.85 * int(share * WHOLE) < member.macs <= int(share * WHOLE)
    assert all(where in record.reason for record in told.path.growth_records)


def test_targets_may_be_parameters_beyond_the_network_given(own: Make, digits: Digits) -> None:
    params = count(own(), SHAPE)[0]
    targets = (Target(max_params=params // 4), Target(max_params=2 * params))
    settings = Growth(targets=targets, compute=COMPUTE // 8)
    told = grow(own(), digits.batches, shape=SHAPE, settings=settings)
    for target, member in zip(targets, told.members[1::2], strict=True):
        assert target.max_params is not None
        assert 0.85 * target.max_params < member.params <= target.max_params


def test_without_more_said_compute_is_that_of_tuning_the_last_network(
    own: Make, digits: Digits
) -> None:
    settings = Growth(targets=(0.1, 0.3), tune_epochs=4)
    told = grow(own(), digits.batches, shape=SHAPE, settings=settings)
    whole = 3 * int(0.3 * WHOLE) * IMAGES * 4
    assert 0.95 * whole < told.compute <= whole


def test_epochs_of_changing_sizes_never_spend_more(own: Make, digits: Digits) -> None:
    drawn = torch.Generator().manual_seed(0)

    def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
        size = int(torch.randint(16, 128, (1,), generator=drawn))
        parts = [slice(first, first + size) for first in range(0, 640, size)]
        return [(digits.images[part], digits.labels[part]) for part in parts]

    settings = replace(QUICK, compute=COMPUTE // 8)
    told = grow(own(), batches, shape=SHAPE, settings=settings)
    assert 0.8 * COMPUTE // 8 < told.compute <= COMPUTE // 8


def test_what_is_excluded_keeps_its_filters(own: Make, digits: Digits) -> None:
    settings = replace(QUICK, targets=(0.1, 0.3), compute=COMPUTE // 8, exclude=("stem.*",))
    told = grow(own(), digits.batches, shape=SHAPE, settings=settings)
    assert len({member.found.widths["stem.0"] for member in told.members}) == 1
    assert told.members[-1].macs > 0.85 * int(0.3 * WHOLE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": (0.3, 0.1)}, r"targets must rise, got max_macs \d+ behind max_macs \d+"),
        (
            {"targets": (Target(max_params=900), 0.5)},
            "targets must all name the same measures, got max_params 900 and max_macs",
        ),
        (
            {"targets": (0.001, 0.1)},
            r"targets\.0: max_macs \d+ must allow the narrowest network, of",
        ),
        ({"compute": 50_000_000}, "compute must be at least [0-9]+, so that .*, got 50000000"),
        ({"compute": None, "tune_epochs": 0}, "compute must be at least .*, got 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    own: Make, digits: Digits, settings: dict[str, Any], message: str
) -> None:
    def loss(said: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        raise AssertionError((said, labels))

    with pytest.raises(ValueError, match=message):
        grow(
            own(),
            digits.batches,
            shape=SHAPE,
            settings=replace(QUICK, **settings),
            loss=loss,
        )


def test_the_least_compute_that_is_named_is_enough(own: Make, digits: Digits) -> None:
    with pytest.raises(ValueError, match="compute must be at least") as refusal:
        grow(own(), digits.batches, shape=SHAPE, settings=replace(QUICK, compute=1))
    least = int(str(refusal.value).split("at least ")[1].split(",")[0])
    told = grow(own(), digits.batches, shape=SHAPE, settings=replace(QUICK, compute=least))
    assert {point.phase for point in _points(told)[-2:]} == {"grow", "anneal"}
    assert told.compute <= least


def test_growth_halts_on_the_way_to_a_target_that_it_cannot_train(
    own: Make, digits: Digits
) -> None:
    far = replace(QUICK, targets=(0.8,), compute=COMPUTE // 6)
    halted, straight = (
        grow(own(), digits.batches, shape=SHAPE, settings=settings, score=digits.score)
        for settings in (far, replace(far, split=(1.0,)))
    )
    assert halted.ended == straight.ended == "all 1 targets are served"
    assert [member.kind for member in halted.members] == ["grown", "grown", "tuned"]
    station, held, tuned = halted.members
    assert station.origin.startswith("station before target 1 of 1: max_macs ")
    assert held.origin == "before target 1"
    assert tuned.origin == f"target 1 of 1: max_macs {int(0.8 * WHOLE)}"
    assert station.macs < 0.1 * WHOLE < 0.7 * WHOLE < held.macs == tuned.macs
    assert halted.path.growth_records[-1].reason.startswith("toward target 1 of 1, ")
    step = 3 * 64 * tuned.macs
    assert far.compute is not None
    assert far.compute - 2 * step < halted.compute <= far.compute
    spent = {member.origin[:7]: 0 for member in halted.members}
    for before, after in pairwise(_points(halted)):
        stage = "station" if after.macs == station.macs else "target "
        spent[stage] += 3 * 64 * after.macs * (after.step - before.step)
    assert spent["station"] > 2 * spent["target "]
    assert [member.kind for member in straight.members] == ["grown", "tuned"]
    assert tuned.score > straight.members[-1].score + 0.05


def test_a_start_beyond_the_first_target_is_refused(own: Make, digits: Digits) -> None:
    with pytest.raises(
        ValueError, match=r"targets\.0\.max_macs must be at least \d+, as many as start asks for"
    ):
        grow(own(), digits.batches, shape=SHAPE, settings=QUICK, start=0.5)


def test_a_start_below_the_first_target_grows_up_to_it(own: Make, digits: Digits) -> None:
    settings = replace(QUICK, targets=(0.3, 0.5), split=(1.0, 1.0), compute=COMPUTE // 8)
    told = grow(own(), digits.batches, shape=SHAPE, settings=settings, start=0.125)
    assert told.path.growth_records[0].before == 2
    assert told.path.growth_records[0].step == 0
    assert told.members[1].macs > 0.85 * int(0.3 * WHOLE)


def _moved(before: nn.Module, after: nn.Module) -> list[float]:
    """Return how far each weight has gone, relative to its norm."""
    return [
        float((new - old).norm() / old.norm())
        for old, new in zip(before.state_dict().values(), after.state_dict().values(), strict=True)
        if old.ndim > 1
    ]


def _points(grown: Grown) -> list[StepRecord]:
    return grown.path.step_records


def _stages(points: list[StepRecord]) -> list[list[StepRecord]]:
    """Return the points of each target: of its rounds, and of its annealing behind them."""
    stages: list[list[StepRecord]] = [[]]
    for point in points:
        if point.phase == "grow" and stages[-1] and stages[-1][-1].phase == "anneal":
            stages.append([])
        stages[-1].append(point)
    return stages
