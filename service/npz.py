"""Arrays as a file that `numpy.load` reads, written without numpy.

Source: numpy.lib.format, version 1.0 of the .npy format; an .npz is a zip of such files.
"""

import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time a zip can hold: the same arrays, the same bytes
_ALIGNMENT = 64
_BITS = tuple(bytes(byte >> bit & 1 for bit in range(7, -1, -1)) for byte in range(256))


@dataclass(frozen=True, kw_only=True, slots=True)
class Array:
    """The content of one .npy file."""

    kind: str
    """numpy's name of the type, byte order included, e.g. `<i8`."""
    shape: tuple[int, ...]
    data: bytes
    """In C order."""


def integers(values: Sequence[int]) -> Array:
    """Return 1-D int64."""
    return Array(kind="<i8", shape=(len(values),), data=struct.pack(f"<{len(values)}q", *values))


def floats(values: Sequence[float]) -> Array:
    """Return 1-D float64."""
    return Array(kind="<f8", shape=(len(values),), data=struct.pack(f"<{len(values)}d", *values))


def texts(values: Sequence[str]) -> Array:
    """Return 1-D text, as wide as the longest."""
    width = max((len(value) for value in values), default=1) or 1
    data = b"".join(value.ljust(width, "\0").encode("utf-32-le") for value in values)
    return Array(kind=f"<U{width}", shape=(len(values),), data=data)


def bits(rows: Sequence[bytes], lengths: Sequence[int]) -> Array:
    """Return 2-D bool, a row for each packed support, padded with False to the longest.

    Args:
        rows: bits, the first in the highest bit of byte 0.
        lengths: how many bits of each row count.
    """
    width = max(lengths, default=0)
    data = b"".join(
        b"".join(_BITS[byte] for byte in row)[:length].ljust(width, b"\0")
        for row, length in zip(rows, lengths, strict=True)
    )
    return Array(kind="|b1", shape=(len(rows), width), data=data)


def npz(arrays: Mapping[str, Array]) -> bytes:
    """Return the arrays as one compressed file, each under its name."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            archive.writestr(entry, _npy(array), compress_type=zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _npy(array: Array) -> bytes:
    header = repr({"descr": array.kind, "fortran_order": False, "shape": array.shape})
    start = len(b"\x93NUMPY\x01\x00") + struct.calcsize("<H")
    padding = -(start + len(header) + 1) % _ALIGNMENT
    text = (header + " " * padding + "\n").encode("latin-1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + array.data
