"""What a safetensors file says of itself: read and checked without torch, and never unpickled.

Source: the format's page, "Format": 8 bytes of length, a JSON header, then the tensors' bytes.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HEADER_BYTES = 100_000_000
"""A header has so many at most. Source: the format's own readers."""

HEADER_PARTS = 1_000_000
"""So many `{`, `[` and `,` a header may hold: a small file must not take gigabytes to parse. A
tensor has 6 of them, and those of ResNet-152 number 932."""

DTYPE_BYTES: Mapping[str, int] = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E4M3FNUZ": 1,
    "F8_E5M2": 1,
    "F8_E5M2FNUZ": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
    "C64": 8,
}
"""Types that torch can read -> bytes of one element. Source: safetensors.torch."""

_LARGEST = 2**63 - 1
METADATA = "__metadata__"
"""Key of the header under which a file may map names to text."""

DESCRIPTION = "slbi"
"""Name in it under which a checkpoint holds its JSON. Source: docs/data.md, "Checkpoints"."""


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file as JSON has it; its content is not checked.

    Raises:
        ValueError: the file has none.
        OSError: the file cannot be read.
    """
    return _header(path)[0]


def check(path: Path) -> None:
    """Check that a file is a sound safetensors file, from its header and its size alone.

    Raises:
        ValueError: it is not; the text says what must hold.
        OSError: the file cannot be read.
    """
    header, data_bytes = _header(path)
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not _are_text([*metadata, *metadata.values()]):
        raise ValueError(f"{METADATA} must map names to text")
    if not _are_text(header):
        raise ValueError("the names of tensors must be Unicode text")
    spans = sorted(_span(name, about) for name, about in header.items())
    end = 0
    for first, last, name in spans:
        if first != end:
            told = "the tensors must lie one behind the other, without gaps"
            raise ValueError(f"{told}: {name} must begin at byte {end}, it begins at {first}")
        end = last
    if end != data_bytes:
        told = f"the tensors must fill the file: {data_bytes} bytes follow the header"
        raise ValueError(f"{told}, the tensors take {end}")


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header, and how many bytes follow it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(HEADER_BYTES, size - 8):
            told = "a safetensors file must begin with the length of its header"
            raise ValueError(f"{told}, at most {HEADER_BYTES} bytes and within the file")
        text = file.read(length)
    if sum(text.count(sign) for sign in (b"{", b"[", b",")) > HEADER_PARTS:
        raise ValueError(f"the header must have at most {HEADER_PARTS} brackets and commas")
    try:
        # Of two values of one name another reader might take the other.
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unrepeated)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the header must be JSON in UTF-8: {error}") from error
    if not isinstance(header, dict) or not text.startswith(b"{"):
        raise ValueError("the header must be a JSON object that begins with {")
    return header, size - 8 - length


def _span(name: str, about: object) -> tuple[int, int, str]:
    """Return where a tensor's bytes begin and end behind the header, and its name, shortened."""
    shown = _short(name)
    if not isinstance(about, dict) or set(about) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {shown} must have dtype, shape and data_offsets, nothing else")
    dtype, shape, offsets = about["dtype"], about["shape"], about["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        told = f"the dtype of {shown} must be one of {', '.join(DTYPE_BYTES)}"
        raise ValueError(f"{told}, got {_short(dtype)}")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
        told = f"shape and data_offsets of {shown} must be lists of whole numbers from 0"
        raise ValueError(f"{told}, the offsets two")
    size = DTYPE_BYTES[dtype]
    for length in shape:
        size *= length
        if size > _LARGEST:
            raise ValueError(f"{shown} must have fewer than 2**63 bytes, its shape says more")
    if offsets[1] - offsets[0] != size:
        told = f"the data_offsets of {shown} must span the {size} bytes of its shape and dtype"
        raise ValueError(f"{told}, got {offsets}")
    return offsets[0], offsets[1], shown


def _counts(values: object) -> bool:
    """Return whether something is a list of whole numbers from 0 that 63 bits can hold."""
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value <= _LARGEST for value in values
    )


def _are_text(values: Iterable[object]) -> bool:
    """Return whether all are text; half of a surrogate pair, which JSON can say, is none."""
    try:
        return all(isinstance(value, str) and value.encode() is not None for value in values)
    except UnicodeEncodeError:
        return False


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name must come once in an object")
    return found
