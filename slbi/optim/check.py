"""What a parameter group must hold before the optimizer takes it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from slbi.optim.shrink import SCALINGS, STRUCTURES

_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "lr": ("a finite number >= 0", lambda x: x >= 0),
    "kappa": ("a finite number > 0", lambda x: x > 0),
    "mu": ("a finite number > 0", lambda x: x > 0),
    "momentum": ("in [0, 1)", lambda x: 0 <= x < 1),
    "weight_decay": ("a finite number >= 0", lambda x: x >= 0),
    "dampening": ("in [0, 1]", lambda x: 0 <= x <= 1),
    "threshold": ("a finite number > 0", lambda x: x > 0),
}
_SWITCHES = ("nesterov", "decay_first", "normalised")

OPTIONS = (*_RANGES, *_SWITCHES, "structure", "scaling")
"""Every entry that a group holds beside its tensors."""


def check_group(group: Mapping[str, Any]) -> None:
    """Refuse a parameter group that no step could be taken with.

    Args:
        group: as torch keeps it, defaults filled in.

    Raises:
        ValueError: says which entry or tensor, what must hold and what came.
    """
    missing = [name for name in OPTIONS if name not in group]
    if missing:
        raise ValueError(f"a parameter group must hold {', '.join(missing)}, got none")
    _check_numbers(group)
    _check_choices(group)
    if group["structure"] is not None:
        _check_tensors(group)


def check_state(state: Mapping[str, Any], parameter: Tensor) -> None:
    """Refuse the saved state of one parameter when its tensors are not of its shape.

    Raises:
        ValueError: names the entry and both shapes.
    """
    for name, value in state.items():
        if isinstance(value, Tensor) and value.ndim > 0 and value.shape != parameter.shape:
            raise ValueError(
                f"{name} must have its parameter's shape {tuple(parameter.shape)}, "
                f"got {tuple(value.shape)}"
            )


def _check_numbers(group: Mapping[str, Any]) -> None:
    for name, (what, holds) in _RANGES.items():
        value = group[name]
        fits = isinstance(value, int | float) and math.isfinite(value) and holds(value)
        if not fits or isinstance(value, bool):
            raise ValueError(f"{name} must be {what}, got {value!r}")


def _check_choices(group: Mapping[str, Any]) -> None:
    for name in _SWITCHES:
        if group[name] not in {True, False}:
            raise ValueError(f"{name} must be True or False, got {group[name]!r}")
    if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
        raise ValueError(
            "nesterov needs momentum > 0 and dampening 0, got momentum "
            f"{group['momentum']} and dampening {group['dampening']}"
        )
    for name, known in (("structure", (*STRUCTURES, None)), ("scaling", SCALINGS)):
        if group[name] not in known:
            listed = ", ".join(repr(choice) for choice in known)
            raise ValueError(f"{name} must be one of {listed}, got {group[name]!r}")
    if group["normalised"] and group["structure"] not in ("element", None):
        raise ValueError(
            f"normalised needs structure 'element' or None, got {group['structure']!r}"
        )


def _check_tensors(group: Mapping[str, Any]) -> None:
    """Refuse tensors of rank below 2, and integers, which have no twin."""
    tensors: list[Tensor] = group["params"]
    names = group.get("param_names", range(len(tensors)))
    for name, tensor in zip(names, tensors, strict=False):
        if tensor.ndim < 2 or not tensor.is_floating_point():
            raise ValueError(
                f"structure {group['structure']!r} needs floating-point tensors of rank >= 2, "
                f"got parameter {name!r} of {tensor.dtype} and shape {tuple(tensor.shape)}"
            )
