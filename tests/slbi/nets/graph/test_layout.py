import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slbi.nets.graph.layout import Filters, Layout, Run, Still, repeated


def _still(length: int) -> Layout:
    return (Still(length, "test"),)


def test_filters_that_meet_are_the_same() -> None:
    filters = Filters()
    one, other = filters.fresh(8), filters.fresh(8)
    filters.unify(one, other)
    assert filters.resolved(one) == filters.resolved(other)


def test_a_concatenation_that_meets_one_axis_splits_it() -> None:
    filters = Filters()
    a, b, c = filters.fresh(3), filters.fresh(5), filters.fresh(8)
    filters.unify((*a, *b), c)
    assert filters.resolved(c) == (*a, *b)


def test_parts_are_tied_to_each_other() -> None:
    filters = Filters()
    whole = filters.fresh(12)
    part = filters.parts(whole, 3)
    assert filters.length(part) == 4
    assert filters.resolved(whole) == part * 3


def test_parts_of_unequal_length_are_fixed_with_the_reason() -> None:
    filters = Filters()
    whole = filters.fresh(7)
    filters.parts(whole, 2)
    assert filters.resolved(whole) == (Still(7, "7 entries are not 2 equal parts"),)


def test_a_coarse_filter_has_a_block_of_entries() -> None:
    filters = Filters()
    fine = filters.fresh(12)
    filters.coarsen(fine, 4)
    (run,) = filters.resolved(fine)
    assert isinstance(run, Run)
    assert (filters.width(run.var), run.block) == (3, 4)


def test_blocks_that_meet_have_their_common_multiple() -> None:
    filters = Filters()
    one, other = filters.fresh(6), filters.fresh(4)
    filters.unify(repeated(one, 1, 2), repeated(other, 1, 3))
    (run,) = filters.resolved(one)
    assert isinstance(run, Run)
    assert (filters.width(run.var), run.block) == (2, 3)


def test_what_meets_entries_that_stay_stays() -> None:
    filters = Filters()
    grown = filters.fresh(6)
    filters.unify((*_still(2), *filters.fresh(4)), grown)
    still, run = filters.resolved(grown)
    assert still == Still(2, "test")
    assert isinstance(run, Run)


def test_two_orders_of_one_variable_are_fixed() -> None:
    filters = Filters()
    fine = filters.fresh(4)
    filters.unify((*fine, *fine), repeated(fine, 1, 2))
    assert not list(filters.runs(fine))


def test_a_statistic_over_filters_is_remembered_through_every_binding() -> None:
    filters = Filters()
    whole = filters.fresh(6)
    filters.blend(whole, "mean")
    first, _ = filters.cut(whole, 2)
    assert [filters.blended(run.var) for run in filters.runs(first)] == ["mean"]
    later = filters.fresh(2)
    filters.unify(later, first)
    assert [filters.blended(run.var) for run in filters.runs(later)] == ["mean"]


def test_scaling_merges_entries_that_stay() -> None:
    filters = Filters()
    run = repeated(filters.fresh(2), 1, 4)
    layout = (*_still(1), *_still(3), *run)
    assert filters.scaled(layout, 1, 4)[0] == Still(1, "test")


def test_axes_of_different_lengths_are_refused() -> None:
    filters = Filters()
    with pytest.raises(AssertionError, match="different lengths"):
        filters.unify(filters.fresh(3), filters.fresh(4))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data())
def test_unified_axes_agree_entry_by_entry_and_keep_their_length(data: st.DataObject) -> None:
    filters = Filters()

    def axis() -> Layout:
        pieces: list[Layout] = []
        for _ in range(data.draw(st.integers(1, 4))):
            width, block = data.draw(st.integers(1, 6)), data.draw(st.sampled_from([1, 2, 3]))
            still = data.draw(st.booleans()) and data.draw(st.booleans())
            pieces.append(_still(width) if still else repeated(filters.fresh(width), 1, block))
        return tuple(piece for layout in pieces for piece in layout)

    one, other = axis(), axis()
    short = min(filters.length(one), filters.length(other))
    (one, _), (other, _) = filters.cut(one, short), filters.cut(other, short)
    filters.unify(one, other)
    assert filters.length(one) == filters.length(other) == short
    assert _owners(filters, one) == _owners(filters, other)


def _owners(filters: Filters, layout: Layout) -> list[tuple[int, int] | None]:
    """Return the variable and the filter of every entry."""
    owners: list[tuple[int, int] | None] = []
    for piece in filters.resolved(layout):
        if isinstance(piece, Still):
            owners += [None] * piece.length
        else:
            width = filters.width(piece.var)
            owners += [(piece.var, k) for k in range(width) for _ in range(piece.block)]
    return owners
