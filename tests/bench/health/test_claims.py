"""What is counted of rows, and what the page says of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.health import rows
from bench.health.claims import agreements, apart, behind, beyond, learning, living, paired
from bench.health.dead import Layer
from bench.health.report import main, text
from bench.health.rows import BirthRow, MemberRow, NetworkRow, RecipeRow, TrunkRow

BIRTHS = (
    BirthRow(
        layer="a.weight",
        round=1,
        before=4,
        after=7,
        steps=42,
        best=(0.25, 0.2499, 1.0),
        first=(0.0, 0.0, 1.0),
        mean=(0.3, 0.1, 1.0),
    ),
    BirthRow(
        layer="b.weight",
        round=1,
        before=4,
        after=5,
        steps=10,
        best=(2.0,),
        first=(0.1,),
        mean=(1.0,),
    ),
    BirthRow(layer="b.weight", round=2, before=5, after=7, steps=0, best=(), first=(), mean=()),
)
DYING = (
    Layer(name="a.weight", group="a", filters=6, constant=(0, 2), unread=(2,)),
    Layer(name="b.weight", group="b", filters=4, constant=(), unread=()),
)
TRUNK = TrunkRow(
    way="pairs",
    backbone="small-vgg",
    seed=0,
    dataset="digits",
    images=100,
    compute=9,
    epoch=42,
    births=BIRTHS,
    members=(MemberRow(budget=0.5, macs=7, validation=0.9, layers=DYING),),
    cpu_seconds=1.0,
)
RUN = RecipeRow(
    part="ends",
    mode="rounds",
    name="all caps",
    backbone="vgg11",
    start=8,
    seed=0,
    growth={
        "max_rounds": 2,
        "max_epochs": 4,
        "max_macs": 100,
        "max_params": 50,
        "max_training_macs": 900,
    },
    limits=(),
    end="max_rounds: 2 rounds are done",
    rounds=2,
    growth_epochs=4,
    training_macs=900,
    members=(
        NetworkRow(kind="grown", origin="round 1", widths={"a": 9}, params=50, macs=100),
        NetworkRow(kind="tuned", origin="round 1, tuned", widths={"a": 9}, params=50, macs=100),
    ),
    cpu_seconds=2.0,
)


def grown(start: int, seed: int, a: int, b: int) -> RecipeRow:
    widths = {"a": a, "b": b}
    tuned = NetworkRow(kind="tuned", origin="round 1, tuned", widths=widths, params=1, macs=100)
    return replace(RUN, part="widths", name="cap", start=start, seed=seed, members=(tuned,))


def member(kind: Any, macs: int) -> NetworkRow:  # noqa: ANN401 - one of a family's kinds
    return NetworkRow(kind=kind, origin="", widths={"a": 1}, params=1, macs=macs)


def test_filters_that_reach_are_counted_and_those_not_watched_are_told() -> None:
    found = learning([TRUNK])
    assert (found.filters, found.unseen, found.reached, found.first, found.mean) == (6, 2, 3, 1, 3)
    assert found.share == 3 / 4
    assert found.steps == 10
    assert list(behind([TRUNK])) == ["a.weight"]


def test_of_an_odd_number_the_last_filter_is_left_over() -> None:
    found = paired([TRUNK])
    assert (found["in pairs"].filters, found["in pairs"].reached) == (4, 1)
    assert (found["left over"].filters, found["left over"].reached) == (2, 2)
    assert found["in pairs"].unseen == 2


def test_a_filter_that_is_constant_and_unread_is_dead_once() -> None:
    (found,) = living([TRUNK])
    assert (found.filters, found.constant, found.unread, found.dead) == (10, 2, 1, 2)
    assert found.share == 0.2
    assert found.where == {"a.weight": 2}


def test_apart_is_relative_to_the_mean() -> None:
    assert apart([8, 10, 12]) == pytest.approx(0.4)


def test_the_group_that_is_furthest_apart_is_told_by_seed_and_by_start() -> None:
    (found,) = agreements(
        [grown(8, 0, 10, 10), grown(8, 1, 10, 11), grown(16, 0, 20, 10), grown(16, 1, 20, 10)]
    )
    assert (found.group, found.least, found.most, found.runs) == ("a", 10, 20, 4)
    assert found.apart == found.by_start == pytest.approx(10 / 15)
    assert found.by_seed == pytest.approx(1 / 10.5)
    assert found.macs_apart == 0
    assert found.starts == (8, 16)
    assert found.final


def test_of_one_start_alone_nothing_is_said() -> None:
    assert agreements([grown(8, 0, 10, 10), grown(8, 1, 20, 10)]) == []


def test_a_run_at_its_caps_is_within_them() -> None:
    assert beyond(RUN) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"end": ""}, "no reason for its end"),
        ({"rounds": 3}, "max_rounds 2, was 3"),
        ({"growth_epochs": 5}, "max_epochs 4, was 5"),
        ({"training_macs": 901}, "max_training_macs 900, was 901"),
        ({"members": (member("grown", 101),)}, "max_macs 100, was 101"),
        ({"limits": ({"max_macs": 9},), "members": (member("tuned", 10),)}, "target 1, max_macs 9"),
        (
            {"limits": ({"max_macs": 9}, {"max_macs": 20}), "members": (member("tuned", 9),)},
            "2 targets, served 1",
        ),
    ],
)
def test_what_is_beyond_a_cap_is_told(change: dict[str, Any], told: str) -> None:
    (found,) = beyond(replace(RUN, **change))
    assert told in found


def test_members_of_the_trunk_are_held_against_the_target_they_are_on_the_way_to() -> None:
    limits = ({"max_macs": 9}, {"max_macs": 20})
    family = (member("grown", 9), member("tuned", 9), member("grown", 20), member("tuned", 20))
    assert beyond(replace(RUN, limits=limits, members=family)) == []
    family = (member("grown", 10), *family[1:])
    assert beyond(replace(RUN, limits=limits, members=family)) == ["target 1, max_macs 9, was 10"]


def test_rows_come_back_as_they_were_and_the_last_of_a_key_counts(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    limited = replace(RUN, seed=1, limits=({"max_macs": 9},))
    again = replace(TRUNK, cpu_seconds=3.0)
    for row in (TRUNK, RUN, limited, again):
        rows.append(file, row)
    assert rows.read(file) == [again, RUN, limited]
    assert rows.read(tmp_path / "none.jsonl") == []


def test_the_page_says_what_does_not_hold_and_where(tmp_path: Path) -> None:
    rows.append(tmp_path / "rows.jsonl", TRUNK)
    page = tmp_path / "page.md"
    assert main(["--rows", str(tmp_path / "rows.jsonl"), "--page", str(page)]) == 0
    said = page.read_text()
    assert "within an epoch: **does not hold** (small-vgg 75 %)" in said
    assert "are dead: **does not hold** (most at a budget: small-vgg 20 %)" in said
    assert "| pairs | small-vgg | `a` | 1 | 3 | **66.7 %** |" in said
    assert "runs end" not in said


def test_the_page_says_what_holds() -> None:
    ends = [replace(RUN, seed=seed) for seed in range(20)]
    said = text([*ends, grown(8, 0, 10, 20), grown(16, 0, 10, 20)], "rows")
    assert "20 of 20 runs end by themselves within their caps: holds (20 of 20)" in said
    assert "growth by rounds: holds (vgg11 cap 0 %; multiply-accumulates at most 0 %)" in said
