from hypothesis import given
from hypothesis import strategies as st

from service.contract import Measure
from service.jobs.measures import front, measured, ranked
from service.store.family import Member
from tests.service.members import MEASURES, families, member

_COARSE = st.integers(0, 4).map(float)  # few values, so that ties are common


@given(points=st.lists(st.tuples(_COARSE, _COARSE), max_size=25))
def test_the_front_is_what_comparing_all_with_all_gives(points: list[tuple[float, float]]) -> None:
    slow = [not any(a <= c and b <= d and (a, b) != (c, d) for a, b in points) for c, d in points]
    assert list(front(points)) == slow


@given(family=families(), pair=st.permutations(MEASURES).map(lambda each: (each[0], each[1])))
def test_whom_none_of_its_data_set_beats_is_on_the_front(
    family: list[Member], pair: tuple[Measure, Measure]
) -> None:
    on, lacking = ranked(family, pair)
    for is_on, each in zip(on, family, strict=True):
        rivals = [other for other in family if other.model.dataset == each.model.dataset]
        assert (each in lacking) == any(measured(each, measure) is None for measure in pair)
        assert is_on == (each not in lacking and not any(_beats(o, each, pair) for o in rivals))


def _beats(other: Member, each: Member, pair: tuple[Measure, Measure]) -> bool:
    better = []
    for measure in pair:
        theirs, ours = measured(other, measure), measured(each, measure)
        if theirs is None or ours is None:
            return False
        if theirs != ours:
            better.append(theirs > ours if measure == "accuracy" else theirs < ours)
    return bool(better) and all(better)


def test_a_member_without_a_measure_is_on_no_front_of_it_and_is_named() -> None:
    fast, unknown = member(macs=9, latency_ms=1.0), member(macs=1, accuracy=0.99)
    assert ranked([fast, unknown], ("latency", "accuracy")) == ([True, False], [unknown])
    assert ranked([fast, unknown], ("macs", "accuracy")) == ([False, True], [])


def test_accuracies_on_two_data_sets_are_not_compared() -> None:
    members = [member(macs=5, accuracy=0.5), member(macs=1, accuracy=0.9, dataset="mnist")]
    assert ranked(members, ("macs", "accuracy")) == ([True, True], [])


def test_each_measure_is_read_where_it_lies() -> None:
    one = member(macs=1, params=2, size=3, latency_ms=4.5, accuracy=0.75)
    assert [measured(one, measure) for measure in MEASURES] == [1, 2, 3, 4.5, 0.75]
