from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slbi.growth.plan import plan
from slbi.nets import backbones
from slbi.nets.widths import Widths

WIDTHS = Widths({"a": 10, "b": 100})


def _cost(widths: Widths) -> tuple[int, int]:
    """Return parameters and multiply-accumulates of a made-up network of two layers."""
    return 3 * widths["a"] + widths["a"] * widths["b"], 50 * widths["a"] + widths["b"]


def test_a_group_grows_by_the_ratio_or_the_minimum() -> None:
    after = plan(WIDTHS, ["a", "b"], ratio=1.1, minimum=8).widths
    assert dict(after) == {"a": 18, "b": 110}


def test_rounding_of_the_ratio_adds_no_filter() -> None:
    assert 1.1 * 100 > 110
    assert plan(WIDTHS, ["b"], ratio=1.1, minimum=1).widths["b"] == 110


def test_widths_are_rounded_up_to_the_multiple() -> None:
    assert dict(plan(WIDTHS, ["a", "b"], multiple=8).widths) == {"a": 24, "b": 112}


def test_ratio_and_minimum_may_differ_by_group() -> None:
    made = plan(WIDTHS, ["a", "b"], ratio={"a": 2.0, "b": 1.0}, minimum={"a": 1, "b": 4})
    assert dict(made.widths) == {"a": 20, "b": 104}


def test_groups_that_are_not_due_stay() -> None:
    made = plan(WIDTHS, ["b"])
    assert made.widths["a"] == 10
    assert [(c.group, c.before, c.after, c.wanted) for c in made.changes] == [("b", 100, 110, 110)]
    assert made.refused == ()


def test_nothing_due_is_an_empty_plan() -> None:
    made = plan(WIDTHS, [])
    assert made.widths == WIDTHS
    assert made.changes == ()
    assert made.refused == ()


def test_the_greatest_width_cuts_and_then_refuses() -> None:
    made = plan(WIDTHS, ["a", "b"], max_width={"a": 12, "b": 100})
    assert dict(made.widths) == {"a": 12, "b": 100}
    assert [(r.group, r.reason) for r in made.refused] == [
        ("b", "100 filters have reached max_width 100")
    ]


def test_growth_is_cut_by_the_same_share_to_fit() -> None:
    widths = Widths({"a": 10, "b": 10})
    made = plan(
        widths,
        ["a", "b"],
        ratio=2.0,
        cost=lambda w: (w["a"] + w["b"], 0),
        max_params=31,
    )
    # Half of the ten filters each asks for, and the one that is left to the first.
    assert dict(made.widths) == {"a": 16, "b": 15}


def test_nothing_fits_is_a_plan_that_names_the_cap() -> None:
    made = plan(WIDTHS, ["a"], cost=_cost, max_params=_cost(WIDTHS)[0])
    assert made.widths == WIDTHS
    assert made.changes == ()
    reason = "at 11 filters, 1133 parameters would pass max_params 1030"
    assert [(r.group, r.reason) for r in made.refused] == [("a", reason)]


def test_a_network_beyond_a_cap_does_not_grow() -> None:
    made = plan(WIDTHS, ["a", "b"], cost=_cost, max_macs=10)
    assert made.changes == ()
    assert all("would pass max_macs 10" in refusal.reason for refusal in made.refused)
    assert len(made.refused) == 2


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    a=st.integers(1, 60),
    b=st.integers(1, 60),
    due=st.permutations(["a", "b"]),
    multiple=st.sampled_from([1, 4, 8]),
    ratio=st.floats(1.0, 3.0),
    max_params=st.integers(10, 9000),
    max_macs=st.integers(100, 6000),
    max_width=st.none() | st.integers(1, 100),
)
def test_no_plan_passes_a_cap_and_none_could_be_larger(  # noqa: PLR0917 -- drawn by name
    a: int,
    b: int,
    due: list[str],
    multiple: int,
    ratio: float,
    max_params: int,
    max_macs: int,
    max_width: int | None,
) -> None:
    widths = Widths({"a": a, "b": b})
    settings_: dict[str, Any] = {
        "ratio": ratio, "minimum": 4, "multiple": multiple, "max_width": max_width,
    }  # fmt: skip
    wanted = plan(widths, due, **settings_).widths
    made = plan(widths, due, **settings_, cost=_cost, max_params=max_params, max_macs=max_macs)

    def fits(candidate: Widths) -> bool:
        params, macs = _cost(candidate)
        return params <= max_params and macs <= max_macs

    assert fits(made.widths) or made.widths == widths
    named = {change.group for change in made.changes} | {r.group for r in made.refused}
    assert named == {"a", "b"}
    for group, after in made.widths.items():
        assert widths[group] <= after <= wanted[group]
        assert after in {widths[group], wanted[group]} or after % multiple == 0
        more = min((after // multiple + 1) * multiple, wanted[group])
        assert after == wanted[group] or not fits(made.widths.replaced({group: more}))


def test_a_real_network_grows_up_to_its_cap() -> None:
    names = backbones.groups("resnet110", 32)
    widths = Widths(dict.fromkeys(names, 8))
    net = backbones.build("resnet110", widths, in_channels=3, size=32, classes=10, device="meta")
    cap = int(net.cost()[1] * 1.5)
    made = plan(widths, names, cost=net.cost, max_macs=cap, minimum=4)
    assert 0.99 * cap < net.cost(made.widths)[1] <= cap


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ratio": 0.9}, "ratio must be >= 1, got 0.9"),
        ({"minimum": 0}, "minimum must be >= 1 filter, got 0"),
        ({"multiple": 0}, "multiple must be >= 1, got 0"),
        ({"ratio": {"b": 2.0}}, "a table must name every due group, got none for 'a'"),
        ({"max_macs": 5}, "cost must be given with max_params or max_macs, got None"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(WIDTHS, ["a"], **wrong)


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(ValueError, match="due groups must be among a, b, got 'c'"):
        plan(WIDTHS, ["c"])


def test_a_closed_group_is_refused_with_its_reason_and_the_others_grow() -> None:
    made = plan(WIDTHS, ["a", "b"], closed={"a": "it is excluded"})
    assert dict(made.widths) == {"a": 10, "b": 110}
    assert [(r.group, r.reason) for r in made.refused] == [("a", "it is excluded")]


TEAM = Widths({"a": 8, "b": 12, "c": 5})


def test_groups_that_grow_together_take_the_largest_width_that_one_asks_for() -> None:
    made = plan(TEAM, ["a"], minimum=4, multiple=4, together=[("a", "b")])
    assert dict(made.widths) == {"a": 16, "b": 16, "c": 5}
    assert [(c.group, c.before, c.after) for c in made.changes] == [("a", 8, 16), ("b", 12, 16)]


def test_together_they_stay_below_the_least_of_their_greatest_widths() -> None:
    made = plan(TEAM, ["a", "b"], together=[("a", "b")], max_width={"a": 14, "b": 40})
    assert dict(made.widths) == {"a": 14, "b": 14, "c": 5}
    full = plan(made.widths, ["a"], together=[("a", "b")], max_width={"a": 14, "b": 40})
    assert [(r.group, r.reason) for r in full.refused] == [
        ("a", "14 filters have reached max_width 14"),
        ("b", "14 filters have reached max_width 14"),
    ]


@given(st.integers(20, 60), st.sampled_from([1, 4]))
def test_together_they_have_one_width_or_the_old_ones_whatever_the_caps_leave(
    most: int, multiple: int
) -> None:
    made = plan(
        TEAM,
        ["a", "b", "c"],
        ratio=2,
        multiple=multiple,
        together=[("a", "b")],
        cost=lambda widths: (sum(widths.values()), 0),
        max_params=max(25, most),
    )
    assert sum(made.widths.values()) <= max(25, most)
    pair = (made.widths["a"], made.widths["b"])
    assert pair == (8, 12) or pair[0] == pair[1] >= 12
