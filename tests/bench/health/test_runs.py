"""Small runs, from what is asked to the rows."""

import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from bench.family.data import images
from bench.family.networks import Standard
from bench.family.task import Task
from bench.family.trunk import grown
from bench.health import rows
from bench.health.births import Birth, Watch
from bench.health.claims import beyond, learning, living
from bench.health.command import PARTS, main, planned
from bench.health.recipes import for_ends, made
from bench.health.rows import RecipeRow
from bench.health.trunks import WAYS, learned, row_of


@pytest.mark.parametrize("way", WAYS)
def test_a_trunk_that_is_watched_gives_a_row(way: str) -> None:
    task = _task()
    row = row_of(task, way, WAYS[way], time.process_time())
    assert row.epoch == len(task.data.train) // 128
    assert {birth.steps for birth in row.births} == {row.epoch}
    assert all(len(birth.best) == birth.new > 0 for birth in row.births)
    assert [member.budget for member in row.members] == [0.05, 0.2]
    final = {layer.name: layer.filters for layer in row.members[-1].layers}
    assert final == {birth.layer: birth.after for birth in row.births if birth.round == _last(row)}
    assert 0 < learning([row]).reached <= learning([row]).filters
    assert all(found.share < 0.5 for found in living([row]))


def test_a_trunk_that_is_watched_grows_as_one_that_is_not() -> None:
    task, way = _task(), WAYS["pairs"]
    watch = Watch(3)
    seen = grown(task, replace(way, widen=watch.around(way.widen))).members
    unseen = grown(task, way).members
    for one, other in zip(seen, unseen, strict=True):
        theirs = other.net.state_dict()
        assert all(torch.equal(mine, theirs[k]) for k, mine in one.net.state_dict().items())


def _task() -> Task:
    return Task(
        standard=Standard("small-vgg", 1, 8, 10),
        data=images("digits", 400),
        images=400,
        budgets=(0.05, 0.2),
        compute=3 * 10**9,
        seed=0,
    )


def _last(row: rows.TrunkRow) -> int:
    return max(birth.round for birth in row.births)


def test_a_birth_that_no_step_followed_has_no_shares() -> None:
    found = learned(Birth(layer="a.weight", group="a", round=1, before=2, after=5))
    assert (found.steps, found.new, found.best, found.first, found.mean) == (0, 3, (), (), ())


def test_twenty_ends_differ_in_seed_and_name_every_cap() -> None:
    trials = list(for_ends())
    assert len(trials) == len({trial.seed for trial in trials}) == 20
    caps = {"max_rounds", "max_epochs", "max_macs", "max_params", "max_training_macs", "targets"}
    assert caps <= {name for trial in trials for name in trial.growth}


def test_a_run_of_the_recipe_is_read_as_it_was() -> None:
    trial = next(trial for trial in for_ends() if trial.name == "max_epochs")
    row = made(trial)
    assert row.key == trial.key
    assert (row.growth_epochs, row.rounds) == (3, 2)
    assert row.end.startswith("max_epochs: ")
    assert beyond(row) == []


def test_what_has_a_row_is_not_measured_again(tmp_path: Path) -> None:
    keys = [key for key, _ in planned(PARTS, 2, tuple(WAYS))]
    assert len(set(keys)) == len(keys)
    file = tmp_path / "rows.jsonl"
    for trial in for_ends():
        row = RecipeRow(
            **asdict(trial),
            limits=(),
            end="",
            rounds=1,
            growth_epochs=1,
            training_macs=1,
            members=(),
            cpu_seconds=0.0,
        )
        rows.append(file, row)
    before = file.read_text()
    assert main(["--only", "ends", "--into", str(file)]) == 0
    assert file.read_text() == before
