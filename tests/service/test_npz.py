from io import BytesIO
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.npz import Array, bits, floats, integers, npz, texts


def _read(array: Array) -> Any:  # noqa: ANN401 - an array of any type
    with np.load(BytesIO(npz({"a/b": array})), allow_pickle=False) as held:
        return held["a/b"]


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_whole_numbers_come_back(values: list[int]) -> None:
    found = _read(integers(values))
    assert found.dtype == np.int64
    assert found.tolist() == values


@given(st.lists(st.floats(allow_nan=False)))
def test_numbers_come_back(values: list[float]) -> None:
    found = _read(floats(values))
    assert found.dtype == np.float64
    assert found.tolist() == values


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_texts_come_back(values: list[str]) -> None:
    assert _read(texts(values)).tolist() == values


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=40), min_size=1, max_size=5))
def test_packed_supports_come_back_bit_by_bit(rows: list[list[bool]]) -> None:
    packed = [np.packbits(row).tobytes() for row in rows]
    found = _read(bits(packed, [len(row) for row in rows]))
    width = max(len(row) for row in rows)
    assert found.dtype == np.bool_
    assert found.tolist() == [row + [False] * (width - len(row)) for row in rows]


def test_nothing_at_all_is_an_empty_array() -> None:
    assert _read(bits([], [])).shape == (0, 0)
    assert _read(integers([])).shape == (0,)


def test_the_same_arrays_make_the_same_bytes() -> None:
    assert npz({"x": integers([1])}) == npz({"x": integers([1])})
