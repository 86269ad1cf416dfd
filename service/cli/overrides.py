"""A job's spec from what the command line says."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def spec_of(named: Mapping[str, Any], file: Path | None, settings: Sequence[str]) -> dict[str, Any]:
    """Return a spec: the file's, then what was named, then the single settings, the later winning.

    Only the form is looked at here; what the fields may hold, the service says.

    Args:
        named: Fields that have an argument or option of their own; None leaves the file's.
        file: A spec as JSON, or nothing.
        settings: `a.b=value`, the value as JSON, or as the text it is where it is none.

    Raises:
        ValueError: The file holds no JSON object, or a setting is not of the form `name=value`.
    """
    spec = read_object(file) if file else {}
    spec |= {name: value for name, value in named.items() if value is not None}
    for setting in settings:
        _put(spec, setting)
    return spec


def read_object(file: Path) -> dict[str, Any]:
    """Return what a file says in JSON.

    Raises:
        ValueError: That is no object.
    """
    try:
        spec = json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file} must hold a spec as JSON: {error}") from error
    if not isinstance(spec, dict):
        raise ValueError(f"{file} must hold a JSON object, got {type(spec).__name__}")  # noqa: TRY004
    return spec


def setting_of(text: str, option: str) -> tuple[str, Any]:
    """Return path and value of `a.b=value`, the value as JSON, or as the text where it is none.

    Raises:
        ValueError: It is not of that form; the option is named.
    """
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise ValueError(f"{option} must be like growth.max_rounds=3, got {text!r}")
    try:
        return path, json.loads(value)
    except ValueError:
        return path, value


def _put(spec: dict[str, Any], setting: str) -> None:
    """Set one field, in place."""
    path, value = setting_of(setting, "--set")
    names = path.split(".")
    place = spec
    for name in names[:-1]:
        below = place.get(name)
        if not isinstance(below, dict):
            below = place[name] = {}
        place = below
    place[names[-1]] = value
