"""Settings by group: one number, a table of groups, or a table of stages; and who is left out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol

from worker.training.ranges import whole, within

Stages = Mapping[str, Mapping[str, Any]]
"""Name of a group, or a pattern in the way of a shell such as `stage1.*` -> settings that the
groups of that stage share."""

Table = Mapping[str, Any]

WIDEST = 65536
"""Filters a group may have at most."""


class ByGroup(Protocol):
    """What a section says of single groups."""

    @property
    def min_width(self) -> int | Mapping[str, int]:
        """Fewest filters of a group."""

    @property
    def exclude(self) -> Sequence[str]:
        """Groups, by name or pattern, that are left as they are."""

    @property
    def stages(self) -> Stages | None:
        """Settings that some groups share."""


def members(setting: str, patterns: Iterable[str], groups: Collection[str]) -> tuple[str, ...]:
    """Return the groups that some names and patterns mean, in the order of the groups.

    Raises:
        ValueError: one of them means no group.
    """
    found = set()
    for pattern in patterns:
        meant = {group for group in groups if _means(pattern, group)}
        if not meant:
            raise ValueError(
                f"{setting} must name groups of the backbone, {', '.join(groups)}; got {pattern}"
            )
        found |= meant
    return tuple(group for group in groups if group in found)


def staged(stages: Stages | None, groups: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return group -> the settings of its stage; those of its own name before those of a pattern.

    Raises:
        ValueError: a stage has no group, or a group is in two of them by pattern.
    """
    own: dict[str, dict[str, Any]] = {group: {} for group in groups}
    stage_of: dict[str, str] = {}
    for pattern, settings in (stages or {}).items():
        for group in members("stages", [pattern], groups):
            if group == pattern:
                continue
            if group in stage_of:
                raise ValueError(
                    f"a group must be in one stage, {group} is in {stage_of[group]} and {pattern}"
                )
            stage_of[group] = pattern
            own[group] = dict(settings)
    for group in own:
        own[group] |= (stages or {}).get(group, {})
    return own


def teams(stages: Stages | None, groups: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of each stage that are to grow together."""
    own = staged(stages, groups)
    found = [
        tuple(group for group in members("stages", [pattern], groups) if own[group].get("together"))
        for pattern, settings in (stages or {}).items()
        if settings.get("together")
    ]
    return tuple(team for team in found if len(team) > 1)


def by_group(
    name: str, value: object, section: ByGroup, groups: Collection[str], *, default: object = None
) -> dict[str, Any]:
    """Return group -> a setting: of its own, of its stage, of all; the default where none is set.

    Args:
        name: of the setting.
        value: one for all groups, or a table that need not name every group.
        section: whose stages.
        groups: of the network.
        default: for a group that a table leaves out.

    Raises:
        ValueError: a table or a stage names a group that does not exist.
    """
    known = tuple(groups)
    table = value if isinstance(value, Mapping) else {}
    members(name, table, known)
    for_all = default if isinstance(value, Mapping) else value
    own = staged(section.stages, known)
    return {
        group: table[group] if group in table else own[group].get(name, for_all) for group in known
    }


def check_by_group(section: ByGroup, settings: Collection[str]) -> None:
    """Refuse values that no network allows; whether there are such groups is not known yet.

    Args:
        section: what is checked.
        settings: what a stage may set.

    Raises:
        ValueError: a value is out of its range, a stage is empty or sets something else.
    """
    check_table("min_width", section.min_width, 1, WIDEST)
    if isinstance(section.exclude, str):
        raise ValueError(f"exclude must be a list of groups, got {section.exclude!r}")  # noqa: TRY004 - a setting is wrong, not the call
    for pattern, stage in (section.stages or {}).items():
        unknown = [name for name in stage if name not in settings]
        if unknown or not stage:
            raise ValueError(
                f"stages.{pattern} must set some of {', '.join(settings)}, "
                f"got {', '.join(unknown) or 'none'}"
            )
        for name, value in stage.items():
            _check_setting(f"stages.{pattern}.{name}", name, value)


def check_table(name: str, value: float | Table, low: int, high: int) -> None:
    """Refuse a whole number, or one in a table, outside of [low, high]."""
    table = value if isinstance(value, Mapping) else {"": value}
    for group, number in table.items():
        whole(f"{name}{group and '.' + group}", number, low, high)


def _check_setting(place: str, name: str, value: Any) -> None:  # noqa: ANN401 - any setting
    match name:
        case "threshold":
            within(place, value, 0, 1, above=True)
        case "ratio":
            within(place, value, 1, 10)
        case "percent":
            within(place, value, 0, 100)
        case "minimum":
            whole(place, value, 1, 1024)
        case "start":
            whole(place, value, 1, 4096)
        case "together":
            if not isinstance(value, bool):
                raise ValueError(f"{place} must be true or false, got {value!r}")  # noqa: TRY004 - likewise
        case _:
            whole(place, value, 1, WIDEST)


def _means(pattern: str, group: str) -> bool:
    return pattern == group or fnmatchcase(group, pattern)
