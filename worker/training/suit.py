"""A whole config from what somebody asked for: the rest is what suits the data set."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from worker.training.data.sources import FOLDER_DEFAULTS, SOURCES, Defaults
from worker.training.kinds import check_names, configured, known_kind


def suiting(dataset: str, kind: str) -> Defaults:
    """Return the settings that suit a data set, where they differ from those of the kind.

    Args:
        dataset: its name; one that is not known by name is a folder of images.
        kind: of the run.
    """
    source = SOURCES.get(dataset)
    return (FOLDER_DEFAULTS if source is None else source.defaults).get(kind, {})


def suited(dataset: str, backbone: str, settings: Mapping[str, Any], kind: str = "grow") -> Any:  # noqa: ANN401 - each kind has a config of its own
    """Return a config: its own defaults, then those of the data set, then the settings asked for.

    Args:
        dataset: name of a data set; one that is not known by name is a folder of images.
        backbone: name of a backbone.
        settings: section -> field -> value, or field -> value.
        kind: of the run.

    Raises:
        ValueError: a kind, section or field does not exist, or a value is out of its range.
    """
    sections = known_kind(kind).sections()
    fields = [field.name for field in dataclasses.fields(known_kind(kind).config)]
    known = [name for name in fields if name != "backbone"]  # which has an argument of its own
    check_names("a section of the config", settings, known)
    merged: dict[str, Any] = {**settings, "backbone": backbone}
    suits = suiting(dataset, kind)
    for name in sections:
        asked = settings.get(name, {})
        if isinstance(asked, Mapping):
            merged[name] = {**suits.get(name, {}), **asked}
    merged["data"] = {**merged["data"], "dataset": dataset}
    return configured(kind, {name: value for name, value in merged.items() if value != {}})
