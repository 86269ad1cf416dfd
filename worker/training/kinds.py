"""The kinds of runs by name: what each is given, and what it does."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_type_hints

from worker.training.config import GrowConfig
from worker.training.plans import (
    ExportConfig,
    PruneConfig,
    TicketConfig,
    TrainConfig,
    VisualiseConfig,
    WeightsConfig,
)
from worker.training.ranges import one_of
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.export import export
from worker.training.recipes.grow import grow
from worker.training.recipes.prune import prune
from worker.training.recipes.result import Result
from worker.training.recipes.ticket import ticket
from worker.training.recipes.train import train
from worker.training.recipes.visualise import visualise
from worker.training.recipes.weights import weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of run."""

    config: type
    """The dataclass of its config."""
    recipe: Callable[[Any, Surroundings], Result]

    def sections(self) -> Mapping[str, type]:
        """Return the fields of the config that are configs themselves, by name."""
        hints = get_type_hints(self.config)
        names = [each.name for each in dataclasses.fields(self.config)]
        return {name: hints[name] for name in names if dataclasses.is_dataclass(hints[name])}

    def default(self, section: str) -> Mapping[str, object]:
        """Return the defaults of a section, field -> value: the kind's, else its fields' own."""
        for each in dataclasses.fields(self.config):
            if each.name == section and each.default_factory is not dataclasses.MISSING:
                made = each.default_factory()
                return {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
        known = dataclasses.fields(self.sections()[section])
        return {f.name: f.default for f in known if f.default is not dataclasses.MISSING}


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "grow": Kind(config=GrowConfig, recipe=grow),
        "train": Kind(config=TrainConfig, recipe=train),
        "prune": Kind(config=PruneConfig, recipe=prune),
        "weights": Kind(config=WeightsConfig, recipe=weights),
        "ticket": Kind(config=TicketConfig, recipe=ticket),
        "visualise": Kind(config=VisualiseConfig, recipe=visualise),
        "export": Kind(config=ExportConfig, recipe=export),
    }
)
"""Every kind of run, by name."""


def configured(kind: str, settings: Mapping[str, Any]) -> Any:  # noqa: ANN401 - each kind has its own
    """Return the config of a run.

    Args:
        kind: one of `KINDS`.
        settings: field of the config -> value; of a section, whatever differs from its defaults.

    Raises:
        ValueError: there is no such kind or field, or a value does not suit it.
    """
    found = known_kind(kind)
    sections = found.sections()
    check_names(
        "a field of the config", settings, [f.name for f in dataclasses.fields(found.config)]
    )
    parts: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in sections or dataclasses.is_dataclass(value):
            parts[name] = value
            continue
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be set field by field, got {value!r}")  # noqa: TRY004 - a setting is wrong, not the call
        fields = [each.name for each in dataclasses.fields(sections[name])]
        check_names(f"a field of {name}", value, fields)
        parts[name] = _made(name, sections[name], {**found.default(name), **value})
    return _made("the config", found.config, parts)


def known_kind(kind: str) -> Kind:
    """Return a kind by its name.

    Raises:
        ValueError: there is none.
    """
    one_of("kind", kind, KINDS)
    return KINDS[kind]


def run(config: Any, around: Surroundings) -> Result:  # noqa: ANN401 - each kind has its own
    """Do what a config says.

    Raises:
        as the recipe of its kind.
    """
    for kind in KINDS.values():
        if isinstance(config, kind.config):
            return kind.recipe(config, around)
    raise TypeError(
        f"a config must be of a kind of {', '.join(KINDS)}, got {type(config).__name__}"
    )


def check_names(what: str, given: Mapping[str, object], known: list[str]) -> None:
    """Refuse names that do not exist."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"{what} must be one of {', '.join(known)}, got {', '.join(unknown)}")


def _made(name: str, config: type, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - likewise
    try:
        return config(**values)
    except TypeError as error:
        raise ValueError(f"values of {name} must be of the type of their field: {error}") from error
