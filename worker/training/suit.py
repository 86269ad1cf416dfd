"""A whole config from what somebody asked for: the rest is what suits the data set."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from worker.training.config import (
    ComputeConfig,
    DataConfig,
    GrowConfig,
    GrowthConfig,
    OptimConfig,
    TuneConfig,
)
from worker.training.data.sources import FOLDER_DEFAULTS, SOURCES

_SECTIONS: Mapping[str, type] = {
    "data": DataConfig,
    "optim": OptimConfig,
    "growth": GrowthConfig,
    "tune": TuneConfig,
    "compute": ComputeConfig,
}


def suited(dataset: str, backbone: str, settings: Mapping[str, Mapping[str, Any]]) -> GrowConfig:
    """Return a config: its own defaults, then those of the data set, then the settings asked for.

    Args:
        dataset: name of a data set; one that is not known by name is a folder of images.
        backbone: name of a backbone.
        settings: section -> field -> value.

    Raises:
        ValueError: a section or field does not exist, or a value is out of its range.
    """
    _check_names("a section of the config", settings, _SECTIONS)
    source = SOURCES.get(dataset)
    suiting = FOLDER_DEFAULTS if source is None else source.defaults
    parts: dict[str, Any] = {}
    for name, section in _SECTIONS.items():
        asked = settings.get(name, {})
        _check_names(f"a field of {name}", asked, [field.name for field in fields(section)])
        values = {**suiting.get(name, {}), **asked}
        if name == "data":
            values["dataset"] = dataset
        try:
            parts[name] = section(**values)
        except TypeError as error:
            raise ValueError(
                f"values of {name} must be of the type of their field: {error}"
            ) from error
    return GrowConfig(backbone=backbone, **parts)


def _check_names(
    what: str, given: Mapping[str, object], known: Mapping[str, type] | list[str]
) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"{what} must be one of {', '.join(known)}, got {', '.join(unknown)}")
