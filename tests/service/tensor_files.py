"""Safetensors files, sound and otherwise, made without the library."""

import json
from collections.abc import Mapping
from typing import Any


def content(header: object, data: bytes = b"") -> bytes:
    """Return a file of this header; text stands for itself."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode(
        errors="surrogatepass"
    )
    return len(text).to_bytes(8, "little") + text + data


def sound(size: int = 24) -> bytes:
    """Return a sound file of one tensor of so many bytes, a multiple of 4."""
    data = bytes(place % 251 for place in range(256)) * (size // 256 + 1)
    return content({"w": tensor([size // 4], 0, size)}, data[:size])


def tensor(shape: list[Any], first: int, last: int, dtype: str = "F32") -> Mapping[str, Any]:
    """Return what a header says of a tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}
