"""Open files of strangers without running what they say, and name what in them is wrong."""

import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_UNREADABLE = (
    pickle.UnpicklingError, struct.error, EOFError, RuntimeError, LookupError, ValueError,
    TypeError, AttributeError, AssertionError,
)  # fmt: skip
"""What torch raises on files that hold more than it should read, or that are torn; it has no one
class for it. Source: 6000 files with bytes cut off or changed."""


def safely_loaded(path: Path) -> object:
    """Return what `torch.save` wrote, if it is tensors, numbers, names and containers alone.

    Raises:
        ValueError: it is more, or no file of torch's; nothing of it has then run.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise ValueError(
            f"{path.name} must hold nothing but tensors, numbers, names and containers, "
            f"got {_met(error)}"
        ) from error


def mapping(found: object, what: str) -> Mapping[Any, Any]:
    """Return a dict as such.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(found, Mapping):
        raise ValueError(f"{what} must be a dict, got {type(found).__name__}")  # noqa: TRY004 -- a file is wrong, not the call
    return found


def tensor_at(found: Mapping[str, object], key: str, rank: int, *, of: str = "") -> Tensor:
    """Return the floating-point tensor of some rank at a key.

    Raises:
        ValueError: there is none.
    """
    what = f"{key} of {of}" if of else key
    if key not in found:
        raise ValueError(f"the file must hold {what}, got {listed_keys(found)}")
    value = found[key]
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim != rank:
        came = (
            f"{value.dtype} of shape {tuple(value.shape)}"
            if isinstance(value, Tensor)
            else type(value).__name__
        )
        raise ValueError(f"{what} must be a floating-point tensor of rank {rank}, got {came}")
    return value


def check_shape(found: Tensor, expected: Tensor, what: str) -> None:
    """Refuse a tensor that has not the shape of another.

    Raises:
        ValueError: names both shapes.
    """
    if found.shape != expected.shape:
        raise ValueError(
            f"{what} must be of shape {tuple(expected.shape)}, got {tuple(found.shape)}"
        )


def listed_keys(found: Mapping[Any, object]) -> str:
    """Return the keys as a message shows them."""
    return ", ".join(map(repr, found)) or "nothing"


def _met(error: Exception) -> str:
    """Return what torch refused to look up, out of its long message."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    return found.group(1) if found else "what torch cannot read"
