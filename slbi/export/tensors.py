"""Tensors in the safetensors layout, written with torch alone.

Source: the format's description, https://github.com/huggingface/safetensors#format: the length
of a JSON header as 8 bytes, little endian; the header, name -> dtype, shape and where it lies; the
data.
"""

import ctypes
import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from slbi.export.load import DTYPES

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_ALIGNMENT = 8
"""Bytes; the data begins at a multiple, so that a reader can map it."""


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors, whatever their device and strides.

    Raises:
        ValueError: a tensor is of a kind of number that the layout has no name for.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in _NAMES:
            raise ValueError(f"{name} must be one of {', '.join(DTYPES)}, got {tensor.dtype}")
        end = start + tensor.nbytes
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(told).to_bytes(8, "little") + told)
        for name in order:
            file.write(_bytes(tensors[name]))


def _bytes(tensor: Tensor) -> bytes:
    """Return a tensor's numbers, row by row. Little endian, as all machines that torch runs on."""
    flat = tensor.detach().cpu().contiguous()
    return ctypes.string_at(flat.data_ptr(), flat.nbytes) if flat.nbytes else b""
