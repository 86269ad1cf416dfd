import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.torch import save

from service.tensors import DTYPE_BYTES, HEADER_PARTS, check, read_header
from tests.service.tensor_files import content, sound, tensor

REAL = save(
    {
        "a": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "b": torch.ones(3, dtype=torch.bool),
        "none": torch.empty(0, 4),
        "one": torch.tensor(7),
    },
    {"slbi": '{"kind": "grown"}'},
)


def _check(path: Path, file: bytes) -> None:
    path.write_bytes(file)
    check(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net"


def test_what_the_library_writes_is_sound(path: Path) -> None:
    _check(path, REAL)
    assert json.loads(read_header(path)["__metadata__"]["slbi"]) == {"kind": "grown"}


@pytest.mark.parametrize("dtype", DTYPE_BYTES)
def test_every_known_type_is_taken_and_the_library_reads_it(path: Path, dtype: str) -> None:
    size = 6 * DTYPE_BYTES[dtype]
    file = content({"w": tensor([2, 3], 0, size, dtype)}, bytes(size))
    _check(path, file)
    assert len(deserialize(file)) == 1  # type: ignore[no-untyped-call] # theirs


PAIR = {"a": tensor([2], 0, 8), "b": tensor([1], 8, 12)}
UNSOUND = {
    "nothing": (b"", "begin with the length of its header"),
    "seven bytes": (b"1234567", "begin with the length"),
    "a header that ends behind the file": (b"\xff" * 16, "begin with the length"),
    "a header of more than 100 MB": (
        (10**8 + 1).to_bytes(8, "little") + b"{}",
        "at most 100000000 bytes",
    ),
    "a pickle": (pickle.dumps({"w": [1.0, 2.0]}), "begin with the length"),
    "a zip, as torch.save writes": (b"PK\x03\x04" + bytes(200), "begin with the length"),
    "no JSON": (content("{'a': 1}"), "JSON in UTF-8"),
    "no UTF-8": (content('{"\udc80": 1}'), "JSON in UTF-8"),
    "a list": (content([]), "a JSON object"),
    "a space before it": (content(" {}"), "begins with {"),
    "nesting": (content("[" * 50_000), "JSON"),
    "a huge number": (content('{"a": ' + "9" * 5000 + "}"), "JSON"),
    "a name twice": (content('{"a": 1, "a": 1}'), "a name must come once"),
    "half a surrogate pair": (content('{"\\ud800": 1}'), "Unicode text"),
    "a number as a tensor": (content({"a": 1}), "must have dtype, shape and data_offsets"),
    "a field too many": (content({"a": {**tensor([], 0, 4), "x": 1}}, bytes(4)), "nothing else"),
    "an unknown type": (content({"a": tensor([], 0, 4, "F31")}, bytes(4)), "got 'F31'"),
    "a type that is none": (content({"a": {**tensor([], 0, 4), "dtype": []}}), "dtype of 'a'"),
    "a negative length": (content({"a": tensor([-1], 0, 4)}, bytes(4)), "whole numbers"),
    "a broken length": (content({"a": tensor([1.0], 0, 4)}, bytes(4)), "whole numbers"),
    "a true length": (content({"a": tensor([True], 0, 4)}, bytes(4)), "whole numbers"),
    "one offset": (content({"a": {**tensor([], 0, 4), "data_offsets": [0]}}), "the offsets two"),
    "another span": (content({"a": tensor([2], 0, 4)}, bytes(4)), "span the 8 bytes"),
    "an overflow": (content({"a": tensor([2**40, 2**40], 0, 4)}, bytes(4)), r"2\*\*63"),
    "an overflow that a zero hides": (content({"a": tensor([2**62, 4, 0], 0, 0)}), r"2\*\*63"),
    "a gap": (content({**PAIR, "b": tensor([1], 12, 16)}, bytes(16)), "must begin at byte 8"),
    "an overlap": (content({**PAIR, "b": tensor([1], 4, 8)}, bytes(8)), "must begin at byte 8"),
    "a start behind the header": (content({"a": tensor([1], 4, 8)}, bytes(8)), "at byte 0"),
    "a byte too few": (content(PAIR, bytes(11)), "11 bytes follow"),
    "a byte too many": (content(PAIR, bytes(13)), "13 bytes follow"),
    "metadata that are numbers": (content({"__metadata__": {"a": 1}}), "names to text"),
    "metadata that are a list": (content({"__metadata__": []}), "names to text"),
    "a header that would fill the memory": (
        content("[" + "[]," * HEADER_PARTS + "[]]"),
        "brackets and commas",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", UNSOUND)
def test_what_is_not_sound_is_refused_with_what_must_hold(path: Path, what: str) -> None:
    file, told = UNSOUND[what]
    with pytest.raises(ValueError, match=told) as refused:
        _check(path, file)
    assert len(str(refused.value)) < 500


@settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    base=st.sampled_from([REAL, sound()]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3),
    cut=st.integers(-3, 3),
)
def test_whatever_is_taken_the_library_reads(
    path: Path, base: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    file = bytearray(base)
    for place, value in changes:
        file[place % len(file)] = value
    changed = bytes(file[:cut]) if cut < 0 else bytes(file) + bytes(cut)
    try:
        _check(path, changed)
    except ValueError:
        return
    try:
        deserialize(changed)  # type: ignore[no-untyped-call] # theirs
    except SafetensorError as error:
        pytest.fail(f"{error}: {changed!r}")
