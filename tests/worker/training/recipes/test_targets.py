"""Growth toward targets: what is spent, what comes of it, and what is refused."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from slbi.nets import backbones
from slbi.nets.widths import Widths
from worker.training.checkpoint import load
from worker.training.config import (
    ComputeConfig,
    DataConfig,
    GrowConfig,
    GrowthConfig,
    OptimConfig,
    TuneConfig,
)
from worker.training.recipes.begin import first_widths
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.grow import grow
from worker.training.recipes.result import Result
from worker.training.recorder import RunList

SHARES = (0.004, 0.008, 0.02)
COMPUTE = 6_000_000_000
QUICK = GrowConfig(
    backbone="vgg11",
    data=DataConfig(dataset="digits"),
    optim=OptimConfig(batch=64),
    growth=GrowthConfig(
        targets=tuple({"share": share} for share in SHARES),
        split=(3, 2, 2),
        max_training_macs=COMPUTE,
    ),
    compute=ComputeConfig(device="cpu", threads=1),
)


def _run(config: GrowConfig, output: Path, **more: Any) -> tuple[Result, RunList]:  # noqa: ANN401 -- passed on
    recorder = RunList()
    around = Surroundings(directories=[], output=output, recorder=recorder, **more)
    return grow(config, around), recorder


def _with(growth: dict[str, Any]) -> GrowConfig:
    split: dict[str, Any] = {"split": None} if "targets" in growth else {}
    return replace(QUICK, growth=replace(QUICK.growth, **split, **growth))


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, RunList]:
    return _run(QUICK, tmp_path_factory.mktemp("targets") / "family")


def _standard() -> tuple[Widths, int]:
    net = backbones.build("vgg11", in_channels=1, size=8, classes=10, device="meta")
    return net.widths, net.cost()[1]


def test_every_target_has_an_annealed_network_that_fills_it(
    quick: tuple[Result, RunList],
) -> None:
    result, _ = quick
    tuned = [member for member in result.members if member.kind == "tuned"]
    assert result.end == "targets: all 3 are served"
    assert len(tuned) == len(SHARES)
    for share, member in zip(SHARES, tuned, strict=True):
        limit = int(share * _standard()[1])
        assert 0.9 * limit < member.macs <= limit
        assert load(member.checkpoint)[0].cost()[1] == member.macs
        assert f"max_macs {limit}" in member.origin


def test_the_whole_compute_is_spent_and_not_more(quick: tuple[Result, RunList]) -> None:
    result, path = quick
    step = 3 * 64 * max(member.macs for member in result.members)
    assert COMPUTE - 2 * step < result.training_macs <= COMPUTE
    spent = 0
    for before, after in zip(
        [0, *(s.step for s in path.step_records)], path.step_records, strict=False
    ):
        spent += 3 * 64 * after.macs * (after.step - before)
    assert 0.95 * result.training_macs < spent <= result.training_macs, "the rest measures norms"


def test_a_split_says_how_much_of_the_compute_each_target_gets(tmp_path: Path) -> None:
    def first_part(split: tuple[float, ...]) -> int:
        result, _ = _run(_with({"split": split}), tmp_path / str(split[0]))
        served = next(member for member in result.members if member.kind == "tuned")
        return served.step

    # Half of the compute instead of a third; the first rounds, of narrow networks, cost less.
    assert 1.4 < first_part((2.0, 1.0, 1.0)) / first_part((1.0, 1.0, 1.0)) < 2


def test_the_rate_stays_while_the_network_grows_and_then_falls_to_nothing(
    quick: tuple[Result, RunList],
) -> None:
    _, path = quick
    rounds: list[float] = []
    ends = []
    for step, after in zip(path.step_records, [*path.step_records[1:], None], strict=True):
        if step.phase == "grow":
            rounds.append(step.learning_rate)
        elif after is None or after.phase == "grow":
            assert len(set(rounds)) == 1, "one rate for all rounds of a target"
            ends.append((rounds[0], step.learning_rate))
            rounds.clear()
    assert len(ends) == len(SHARES)
    first = [rate for rate, _ in ends]
    assert first[0] == QUICK.optim.learning_rate
    assert first[0] > first[1] > first[2] > 0, "each has fewer steps than the one before"
    assert all(last < 0.15 * rate for rate, last in ends)


def test_where_the_rate_is_low_the_twins_pull_little_too(tmp_path: Path) -> None:
    result, _ = _run(_with({"split": (1.0, 0.05, 0.1)}), tmp_path)
    tuned = [member for member in result.members if member.kind == "tuned"]
    first, _, last = (load(member.checkpoint)[0].state_dict() for member in tuned)
    name = next(iter(first))  # reads the image, so that a widening adds rows and changes none
    old, new = first[name], last[name]
    assert old.ndim == 4
    assert len(old) < len(new)
    assert float((new[: len(old)] - old).norm() / old.norm()) < 1e-3


def test_one_number_to_start_from_is_cut_to_what_a_group_has_at_the_first_target() -> None:
    growth = _with({"start": 40, "targets": ({"share": 0.15}, {"share": 0.2})}).growth
    standard = backbones.build("vgg11", in_channels=1, size=8, classes=10, device="meta")
    cut = first_widths(growth, standard)
    assert min(cut.values()) < max(cut.values()) == 40
    assert cut["conv1"] == pytest.approx(0.15**0.5 * standard.widths["conv1"], abs=2), "its share"
    few = replace(growth, start=12)
    assert first_widths(few, standard) == Widths(dict.fromkeys(cut, 12))
    table = replace(growth, start=dict.fromkeys(cut, 40))
    assert first_widths(table, standard) == Widths(dict.fromkeys(cut, 40))
    assert first_widths(replace(growth, where="gain"), standard) == first_widths(table, standard)
    with pytest.raises(
        ValueError, match=r"targets\.0\.max_macs must be at least .* start asks for"
    ):
        first_widths(replace(growth, start=512), standard)


def test_a_stretch_is_an_epoch_at_most_and_the_path_knows_every_filter(
    quick: tuple[Result, RunList],
) -> None:
    result, path = quick
    steps = [0, *(step.step for step in path.step_records)]
    lengths = [after - before for before, after in pairwise(steps)]
    assert min(lengths) > 0
    assert max(lengths) == 1294 // 64
    assert steps[-1] == result.steps
    widths = [[support.n_filters for support in step.support] for step in path.step_records]
    assert all(
        old <= new
        for before, after in pairwise(widths)
        for old, new in zip(before, after, strict=True)
    )
    assert widths[-1] == list(result.members[-1].widths.values())
    last = path.step_records[-1].round
    assert {record.round for record in path.growth_records} == set(range(last))


def test_progress_ends_where_the_run_does(quick: tuple[Result, RunList]) -> None:
    _, path = quick
    last = path.progress_records[-1]
    assert last.epochs == last.epoch
    assert last.eta_seconds is not None
    assert last.eta_seconds < 0.5
    assert path.progress_records[0].epochs > 2


def test_all_groups_alike_keep_the_shares_of_the_standard(quick: tuple[Result, RunList]) -> None:
    result, _ = quick
    standard, _ = _standard()
    for member in result.members:
        shares = [member.widths[group] / width for group, width in standard.items()]
        assert max(shares) - min(shares) < 0.03


@pytest.mark.parametrize("where", ["full", "gain"])
def test_other_choices_of_layers_serve_the_targets_too(tmp_path: Path, where: str) -> None:
    result, path = _run(_with({"where": where}), tmp_path)
    tuned = [member for member in result.members if member.kind == "tuned"]
    assert [member.macs <= int(s * _standard()[1]) for s, member in zip(SHARES, tuned, strict=True)]
    assert tuned[-1].macs > 0.9 * int(SHARES[-1] * _standard()[1])
    assert all(where in record.reason for record in path.growth_records)
    shares = [tuned[-1].widths[g] / w for g, w in _standard()[0].items()]
    assert max(shares) - min(shares) > 0.01


def test_targets_may_be_of_parameters_and_latency(tmp_path: Path) -> None:
    targets = [
        {"max_params": 20_000, "max_latency_ms": 1000.0},
        {"max_params": 40_000, "max_latency_ms": 1000.0},
    ]
    result, _ = _run(_with({"targets": targets}), tmp_path)
    tuned = [member for member in result.members if member.kind == "tuned"]
    assert [
        0.9 * t["max_params"] < m.params <= t["max_params"]
        for t, m in zip(targets, tuned, strict=True)
    ] == [True, True]


def test_growth_halts_on_the_way_to_a_target_that_the_compute_does_not_train(
    tmp_path: Path,
) -> None:
    far = _with({"targets": ({"share": 0.08},)})
    result, path = _run(far, tmp_path / "far")
    limit = int(0.08 * _standard()[1])
    assert result.end == "targets: all 1 are served"
    station, tuned = result.members
    assert (station.kind, tuned.kind) == ("grown", "tuned")
    assert station.origin == f"station before target 1 of 1: max_macs {_standard()[1] // 32}"
    assert tuned.origin == f"target 1 of 1: max_macs {limit}"
    assert station.macs <= _standard()[1] // 32 < 0.9 * limit < tuned.macs <= limit
    assert load(station.checkpoint)[0].cost()[1] == station.macs
    assert COMPUTE - 2 * 3 * 64 * tuned.macs < result.training_macs <= COMPUTE
    halts = [step.step for step in path.step_records if step.macs == station.macs]
    assert 3 * 64 * station.macs * max(halts) > 0.6 * COMPUTE
    assert path.step_records[max(0, len(halts) - 1)].phase == "anneal"
    assert tuned.validation_accuracy > 0.9

    straight, _ = _run(replace(far, growth=replace(far.growth, split=(1.0,))), tmp_path / "told")
    assert all("station" not in member.origin for member in straight.members)


def test_policies_hold_on_the_way(tmp_path: Path) -> None:
    result, _ = _run(
        _with({"multiple": 4, "exclude": ["conv1"], "min_width": 4, "max_width": 40}), tmp_path
    )
    tuned = [member for member in result.members if member.kind == "tuned"]
    first = tuned[0].widths["conv1"]
    for member in tuned:
        assert member.widths["conv1"] == first
        assert max(member.widths.values()) <= 40
        assert min(member.widths.values()) >= 4
    assert all(width % 4 == 0 for group, width in tuned[-1].widths.items() if group != "conv1")


def test_without_compute_named_the_last_target_tells_it(tmp_path: Path) -> None:
    config = replace(_with({"max_training_macs": None}), tune=TuneConfig(epochs=1))
    result, _ = _run(config, tmp_path)
    most = 3 * 1280 * int(SHARES[-1] * _standard()[1])
    assert 0.9 * most < result.training_macs <= most


def test_late_runs_stop_before_the_next_target(tmp_path: Path) -> None:
    clock = iter(range(0, 1_000_000, 10))
    result, _ = _run(_with({"max_seconds": 400.0}), tmp_path, clock=lambda: float(next(clock)))
    assert result.end.startswith("max_seconds: ")
    assert result.end.endswith("of 3 targets are served")
    assert 0 < sum(member.kind == "tuned" for member in result.members) < 3


@pytest.mark.parametrize(
    ("growth", "told"),
    [
        ({"targets": ({"max_macs": 10},)}, "targets.0: max_macs 10 must allow the narrowest"),
        ({"targets": ({"share": 0.02}, {"share": 0.01})}, "targets must rise"),
        ({"targets": ({"share": 0.02}, {"max_params": 9})}, "the same measures"),
        ({"start": 64}, "targets.0.max_macs must be at least"),
        ({"max_training_macs": 100_000}, "max_training_macs must be at least"),
    ],
)
def test_targets_that_cannot_be_served_are_refused_at_once(
    tmp_path: Path, growth: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        _run(_with(growth), tmp_path)


def test_the_least_compute_that_is_named_is_enough(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be at least") as refused:
        _run(_with({"max_training_macs": 100_000}), tmp_path / "little")
    least = int(str(refused.value).split("at least ")[1].split(",")[0])
    result, _ = _run(_with({"max_training_macs": least}), tmp_path / "least")
    assert result.end == "targets: all 3 are served"


@pytest.mark.parametrize(
    ("growth", "told"),
    [
        ({"targets": ({"shares": 0.5},)}, "targets.0 must name share, max_macs"),
        ({"targets": ({"max_latency_ms": 5.0},)}, "must name share, max_macs or max_params"),
        ({"targets": ({"share": 0.5, "max_macs": 9},)}, "one of share and max_macs"),
        ({"targets": ({"share": 1.5},)}, "targets.0.share must be in"),
        ({"targets": ({"max_macs": 1.5},)}, "targets.0.max_macs must be a whole number"),
        ({"targets": {"share": 0.5}}, "targets must be a list"),
        ({"mode": "restart"}, "mode must be carry with targets"),
        ({"schedule": "cosine"}, "schedule must be constant with targets, got cosine"),
        ({"when": "both"}, "when must be fill with targets, got both"),
        ({"max_macs": 9}, "max_macs must be left to the targets"),
        ({"split": (1.0, 2.0)}, "split must be a number in .* for each of 3 targets"),
        ({"split": "even"}, "split must be a list, got 'even'"),
        ({"rise": 1.0}, "rise must be in"),
        ({"pull": 0.0}, "pull must be in"),
        ({"hold": 1.0}, "hold must be in"),
        ({"targets": (), "where": "alike"}, "where must be full or gain without targets"),
    ],
)
def test_settings_out_of_range_are_refused(growth: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        _with(growth)
