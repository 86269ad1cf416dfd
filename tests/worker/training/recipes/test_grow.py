import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from slbi.nets import backbones
from slbi.nets.widths import Widths
from slbi.structure.path import unpack
from worker.training.checkpoint import load
from worker.training.config import (
    ComputeConfig,
    DataConfig,
    GrowConfig,
    GrowthConfig,
    OptimConfig,
    TuneConfig,
)
from worker.training.data.batches import evaluation_batches
from worker.training.data.formats import read_digits
from worker.training.data.load import load as load_data
from worker.training.device import Compute, generator
from worker.training.epoch import DivergedError, Stopped, evaluate
from worker.training.recipes.conduct import Surroundings, workplace
from worker.training.recipes.family import on_test_split
from worker.training.recipes.grow import grow
from worker.training.recipes.result import Result
from worker.training.recipes.twin import plain
from worker.training.recorder import RunList

QUICK = GrowConfig(
    backbone="vgg11",
    data=DataConfig(dataset="digits"),
    optim=OptimConfig(batch=128, mu=0.7),
    growth=GrowthConfig(round_epochs=2, max_rounds=3, threshold=0.5),
    tune=TuneConfig(epochs=1, pruned_epochs=1),
    compute=ComputeConfig(device="cpu", threads=1),
)
"""Ten steps an epoch, and a mu under which most filters enter within a round of two."""


def _run(config: GrowConfig, output: Path, **more: Any) -> tuple[Result, RunList]:  # noqa: ANN401 -- passed on
    recorder = RunList()
    around = Surroundings(directories=[], output=output, recorder=recorder, **more)
    return grow(config, around), recorder


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, RunList]:
    return _run(QUICK, tmp_path_factory.mktemp("quick") / "family")


def test_the_path_is_whole(quick: tuple[Result, RunList]) -> None:
    result, path = quick
    assert [step.epoch for step in path.step_records] == list(range(1, result.epochs + 1))
    assert path.step_records[-1].step == result.steps == 10 * result.epochs
    assert [step.phase for step in path.step_records] == ["grow"] * 6 + ["tune", "prune"]
    assert [progress.epoch for progress in path.progress_records] == list(range(1, 9))
    assert path.progress_records[-1].epochs == 8
    assert path.progress_records[-1].eta_seconds == 0
    for step in path.step_records:
        assert [support.layer for support in step.support] == list(range(8))
        for support in step.support:
            bits = unpack(support.bits, support.n_filters)
            assert int(bits.sum()) == support.n_active


def test_widths_change_only_as_the_growth_records_say(quick: tuple[Result, RunList]) -> None:
    _, path = quick
    assert path.growth_records
    widths = dict.fromkeys(range(8), 8)
    pending = list(path.growth_records)
    for before, after in zip(path.step_records[:-1], path.step_records[1:], strict=True):
        for record in [r for r in pending if r.step == before.step]:
            assert widths[record.layer] == record.before
            assert record.fill >= record.threshold
            assert "reached" in record.reason
            fill = before.support[record.layer]
            assert record.fill == pytest.approx(fill.n_active / fill.n_filters)
            widths[record.layer] = record.after
            pending.remove(record)
        assert {s.layer: s.n_filters for s in after.support} == widths
    assert not pending


def test_a_round_gives_a_grown_and_a_pruned_member_and_the_end_two_more(
    quick: tuple[Result, RunList],
) -> None:
    result, path = quick
    assert list(result.members) == path.model_records
    assert [(member.kind, member.origin) for member in result.members] == [
        *(
            pair
            for number in range(3)
            for pair in (("grown", f"round {number}"), ("pruned", f"round {number}, support"))
        ),
        ("tuned", "round 2, tuned"),
        ("tuned", "round 2, support, tuned"),
    ]


def test_every_checkpoint_predicts_with_the_accuracies_recorded(
    quick: tuple[Result, RunList], compute: Compute
) -> None:
    result, path = quick
    data = load_data(QUICK.data, [], split=generator(0, "split"), device=torch.device("cpu"))
    test = read_digits("test")
    for index, member in enumerate(result.members):
        net, description = load(member.checkpoint)
        normal = description.normalisation
        validation = evaluate(net, evaluation_batches(data.validation, normal), compute)
        tested = evaluate(net, evaluation_batches(test, normal), compute)
        assert validation.accuracy == member.validation_accuracy
        assert tested.accuracy == path.test_records[index].accuracy
        assert path.test_records[index].model == index
        assert (description.kind, description.origin) == (member.kind, member.origin)
        assert net.cost() == (member.params, member.macs)


def test_a_stranger_without_the_worker_gets_the_recorded_test_accuracy(
    quick: tuple[Result, RunList],
) -> None:
    path = quick[0].members[-1].checkpoint
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["slbi"])
    shape = {key: about[key] for key in ("in_channels", "size", "classes")}
    net = backbones.build(about["backbone"], Widths(about["widths"]), **shape).eval()
    net.load_state_dict(load_file(path))
    test, normal = read_digits("test"), about["normalisation"]
    pixels = test.images / normal["peak"]
    images = (pixels - normal["mean"][0]) / normal["deviation"][0]
    right = (net(images).argmax(1) == test.labels).double().mean().item()
    assert right == pytest.approx(quick[0].tests[-1].accuracy, abs=0.003)


def test_slicing_to_a_support_that_is_not_full_saves_macs(
    quick: tuple[Result, RunList],
) -> None:
    result, path = quick
    saved = 0
    for grown, pruned in zip(result.members[0:6:2], result.members[1:6:2], strict=True):
        step = next(step for step in path.step_records if step.step == grown.step)
        kept = [max(1, support.n_active) for support in step.support]
        assert list(pruned.widths.values()) == kept
        assert pruned.macs <= grown.macs
        saved += pruned.macs < grown.macs
    assert saved


def test_the_path_of_the_sliced_network_keeps_the_indices_of_the_grown_one(
    quick: tuple[Result, RunList],
) -> None:
    result, path = quick
    tuned, sliced = path.step_records[-2:]
    assert [s.n_filters for s in sliced.support] == [s.n_filters for s in tuned.support]
    assert [s.n_active for s in sliced.support] == list(result.members[-1].widths.values())


def test_a_support_that_is_full_is_not_tuned_a_second_time(tmp_path: Path) -> None:
    growth = replace(QUICK.growth, max_rounds=1)
    full = replace(QUICK, optim=OptimConfig(batch=128, mu=0.2), growth=growth)
    result, path = _run(full, tmp_path)
    assert {support.n_active for support in path.step_records[-1].support} == {8}
    assert [member.origin for member in result.members if member.kind == "tuned"] == [
        "round 0, tuned"
    ]
    assert path.progress_records[-1].eta_seconds == 0


def test_one_slow_epoch_does_not_move_the_estimate_of_the_time_left(tmp_path: Path) -> None:
    # The clock is asked at the run's begin, then twice an epoch: the fourth epoch takes a minute.
    seconds = iter([0.0, *(t for e in range(30) for t in (100.0 * e, 100.0 * e + (60, 2)[e != 3]))])
    growth = replace(QUICK.growth, round_epochs=6, max_rounds=1)
    config = replace(QUICK, growth=growth, tune=TuneConfig(epochs=0, pruned_epochs=0))
    _, path = _run(config, tmp_path, clock=lambda: next(seconds))
    assert [record.eta_seconds for record in path.progress_records] == [10, 8, 6, 4, 2, 0]


def test_training_macs_are_three_forward_passes_and_the_passes_that_measure_norms(
    quick: tuple[Result, RunList],
) -> None:
    result, path = quick
    trained = sum(3 * step.macs * 10 * 128 for step in path.step_records)
    measured = sum(member.macs for member in result.members if member.kind != "tuned")
    images = 1280  # of the 1,295 to learn from: whole batches of 128
    assert result.training_macs == pytest.approx(trained + measured * images, rel=0.01)


def test_a_run_reads_the_test_split_once(tmp_path: Path) -> None:
    around = Surroundings(directories=[], output=tmp_path, recorder=RunList())
    place = workplace(around, data=QUICK.data, compute=QUICK.compute, batch=64, begun=0.0)
    net = backbones.build("vgg11", in_channels=1, size=8, classes=10)
    run = place.run(net, plain(net, QUICK.optim), (), phase="grow", epochs=1)
    on_test_split(run)
    assert run.data.test.reads == 1


def _numbers(path: RunList) -> list[object]:
    return [replace(step, seconds=0.0) for step in path.step_records]


def _one_round(seed: int = 0) -> GrowConfig:
    return replace(
        QUICK,
        growth=replace(QUICK.growth, max_rounds=2, round_epochs=1, threshold=0.01),
        tune=TuneConfig(epochs=0, pruned_epochs=0),
        compute=replace(QUICK.compute, seed=seed),
        optim=replace(QUICK.optim, mu=0.05),
    )


def test_the_same_seed_gives_the_same_run_bit_for_bit_and_another_seed_another(
    tmp_path: Path,
) -> None:
    runs = [
        _run(_one_round(seed), tmp_path / name) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    first, again, other = runs
    assert first[1].growth_records
    assert _numbers(first[1]) == _numbers(again[1])
    assert first[1].test_records == again[1].test_records
    assert _numbers(first[1]) != _numbers(other[1])
    for ours, theirs in zip(first[0].members, again[0].members, strict=True):
        left, right = load_file(ours.checkpoint), load_file(theirs.checkpoint)
        assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    "change",
    [
        GrowthConfig(mode="restart"),
        GrowthConfig(seed="orthogonal"),
        GrowthConfig(seed="gradmax"),
    ],
)
def test_every_way_of_growing_runs(tmp_path: Path, change: GrowthConfig) -> None:
    config = _one_round()
    config = replace(config, growth=replace(config.growth, mode=change.mode, seed=change.seed))
    result, path = _run(config, tmp_path)
    assert path.growth_records
    assert result.members[2].params > result.members[0].params


class Clock:
    """A clock that a second passes on whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


ALWAYS = {"threshold": 0.01, "round_epochs": 1, "max_rounds": 4}


@pytest.mark.parametrize(
    ("caps", "end", "holds"),
    [
        ({"max_rounds": 2}, "max_rounds", lambda run: run[0].epochs == 2),
        ({"max_epochs": 3}, "max_epochs", lambda run: run[0].epochs == 3),
        ({"max_seconds": 5.0}, "max_seconds", lambda run: run[0].epochs < 4),
        (
            {"max_width": 10, "minimum": 1},
            "max_width",
            lambda run: max(run[0].members[-1].widths.values()) == 10,
        ),
        (
            {"max_params": 4500, "minimum": 1},
            "max_params",
            lambda run: 4322 < max(m.params for m in run[0].members) <= 4500,
        ),
        (
            {"max_macs": 24000, "minimum": 1},
            "max_macs",
            lambda run: 20816 < max(m.macs for m in run[0].members) <= 24000,
        ),
        (
            {"max_training_macs": 300_000_000},
            "max_training_macs",
            lambda run: 2.5e8 < run[0].training_macs <= 3e8,
        ),
    ],
)
def test_every_cap_is_kept_and_named(
    tmp_path: Path,
    caps: dict[str, Any],
    end: str,
    holds: Callable[[tuple[Result, RunList]], bool],
) -> None:
    growth = GrowthConfig(**{**ALWAYS, **caps})
    config = replace(_one_round(), growth=growth)
    found = _run(config, tmp_path, clock=Clock())
    assert end in found[0].end
    assert holds(found)


def test_a_part_of_one_image_more_than_whole_batches_is_grown_on(tmp_path: Path) -> None:
    data = DataConfig(dataset="digits", validation=0.109)
    split = generator(0, "split")
    assert len(load_data(data, [], split=split, device=torch.device("cpu")).train) % 128 == 1
    result, _ = _run(replace(_one_round(), data=data), tmp_path)
    assert [member.kind for member in result.members][:2] == ["grown", "pruned"]


def test_auto_mu_selects_within_the_epochs_that_a_cap_leaves_of_a_round(tmp_path: Path) -> None:
    growth = GrowthConfig(round_epochs=20, max_epochs=4)
    _, path = _run(replace(_one_round(), growth=growth, optim=OptimConfig(batch=128)), tmp_path)
    assert sum(support.n_active for support in path.step_records[-1].support) > 0


def test_growth_ends_when_no_layer_asks_for_more(tmp_path: Path) -> None:
    config = replace(_one_round(), optim=OptimConfig(batch=128, mu=1e6))
    result, path = _run(config, tmp_path)
    assert result.end == "no layer's fill reached its threshold"
    assert not path.growth_records
    assert set(result.members[1].widths.values()) == {1}


def test_a_run_that_is_asked_to_stop_stops_within_a_step(tmp_path: Path) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 15

    recorder = RunList()
    with pytest.raises(Stopped):
        grow(
            QUICK,
            Surroundings(directories=[], output=tmp_path, recorder=recorder, stop=stop),
        )
    assert len(asked) == 16
    assert [step.step for step in recorder.step_records] == [10]
    assert not recorder.test_records


def test_a_diverging_run_is_a_plain_error(tmp_path: Path) -> None:
    config = replace(QUICK, optim=OptimConfig(batch=16, learning_rate=10, kappa=1000))
    with pytest.raises(DivergedError, match="lower learning_rate"):
        _run(config, tmp_path)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (replace(QUICK, backbone="vgg7"), "backbone must be one of"),
        (replace(QUICK, backbone="lenet5"), "8"),
        (replace(QUICK, data=DataConfig(dataset="nowhere")), "looked in no directory"),
        (replace(QUICK, growth=GrowthConfig(start={"a": 8})), "start must name"),
        (replace(QUICK, growth=GrowthConfig(threshold={"a": 0.5})), "threshold must name"),
    ],
)
def test_bad_input_is_refused_before_anything_is_recorded(
    tmp_path: Path, config: GrowConfig, told: str
) -> None:
    recorder = RunList()
    with pytest.raises(ValueError, match=told):
        grow(
            config,
            Surroundings(directories=[], output=tmp_path / "family", recorder=recorder),
        )
    assert not recorder.layer_records
    assert not (tmp_path / "family").exists()
