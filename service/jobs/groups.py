"""Which groups of a network the settings of a spec mean, and what is wrong with those that do not.

The worker resolves them by the same rules, see `worker.training.groups`.
"""

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from service.catalogue import Backbone
from service.errors import FieldError
from service.jobs.refusals import escaped
from service.spec.by_group import GrowthStage, PruningStage
from service.spec.growth import GrowthSpec
from service.spec.jobs import GrowSpec, JobSpec, PruneSpec

FIRST = 8
"""Filters that a group starts with where nothing tells. Source: worker/training/config.py."""

_Stage = GrowthStage | PruningStage


def meant(pattern: str, groups: Collection[str]) -> list[str]:
    """Return the groups that a name or a pattern means."""
    return [group for group in groups if group == pattern or fnmatchcase(group, pattern)]


def setting(
    name: str, value: object, stages: Mapping[str, _Stage] | None, groups: Collection[str]
) -> dict[str, Any]:
    """Return group -> a setting: of its own, of its stage, of all; None where none is set.

    Args:
        name: of the setting.
        value: one for all groups, or a table.
        stages: of the same section; nothing is wrong with them.
        groups: of the network.
    """
    table = value if isinstance(value, Mapping) else {}
    told = dict.fromkeys(groups, None if isinstance(value, Mapping) else value)
    # A single name comes behind the patterns, and so before them.
    for pattern, stage in sorted((stages or {}).items(), key=lambda item: item[0] in groups):
        own = getattr(stage, name)
        if own is not None:
            told |= dict.fromkeys(meant(pattern, groups), own)
    return {**told, **{group: table[group] for group in groups if group in table}}


def widths_of_growth(
    growth: GrowthSpec, standard: Mapping[str, int]
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Return the filters of every group, at first and at most; every start is given or auto.

    With targets, an open start is the fewest filters that a group may have.
    """
    start = _start(growth, standard)
    least = setting("min_width", growth.min_width, growth.stages, standard)
    cap = setting("max_width", growth.max_width, growth.stages, standard)
    first = {group: max(start[group], least[group] or 1) for group in standard}
    excluded = {group for pattern in growth.exclude or () for group in meant(pattern, standard)}
    most = {
        group: first[group]
        if group in excluded
        else max(first[group], cap[group] if cap[group] is not None else width)
        for group, width in standard.items()
    }
    return first, most


def _start(growth: GrowthSpec, groups: Collection[str]) -> dict[str, Any]:
    asked: object = growth.start
    if asked == "auto":
        asked = 1 if growth.targets else FIRST
    return setting("start", asked, growth.stages, groups)


def wrong_policies(spec: JobSpec, backbone: Backbone) -> Iterator[FieldError]:
    """Yield which groups that the network does not have are excluded or staged, or staged twice."""
    if not isinstance(spec, GrowSpec | PruneSpec):
        return
    section = "growth" if isinstance(spec, GrowSpec) else "pruning"
    settings = spec.growth if isinstance(spec, GrowSpec) else spec.pruning
    groups = backbone.standard_widths
    for position, pattern in enumerate(settings.exclude or ()):
        if not meant(pattern, groups):
            yield _unknown(f"/{section}/exclude/{position}", "exclude", pattern, backbone)
    stage_of: dict[str, str] = {}
    for pattern in settings.stages or ():
        found = meant(pattern, groups)
        place = f"/{section}/stages/{escaped(pattern)}"
        if not found:
            yield _unknown(place, "stages", pattern, backbone)
        for group in found:
            if group == pattern:
                continue
            if group in stage_of:
                message = (
                    f"a group must be in one stage, {group} is in {stage_of[group]} and {pattern}"
                )
                yield FieldError(pointer=place, code="two_stages", message=message)
                break
            stage_of[group] = pattern
    if isinstance(spec, GrowSpec):
        yield from _unstarted(spec.growth, groups)
        yield from _uneven(spec.growth, groups)


def _unstarted(growth: GrowthSpec, groups: Collection[str]) -> Iterator[FieldError]:
    """Yield which groups neither a table of start widths nor a stage names."""
    start = _start(growth, groups)
    missing = [group for group, width in start.items() if width is None]
    if missing:
        message = f"start must name every group or be one number, {', '.join(missing)} missing"
        yield FieldError(pointer="/growth/start", code="missing_group", message=message)


def _uneven(growth: GrowthSpec, groups: Collection[str]) -> Iterator[FieldError]:
    """Yield which groups grow together and have different thresholds."""
    levels = setting("threshold", growth.threshold, growth.stages, groups)
    own = setting("together", None, growth.stages, groups)
    for pattern, stage in (growth.stages or {}).items():
        team = [group for group in meant(pattern, groups) if stage.together and own[group]]
        if len({levels[group] for group in team}) > 1:
            told = ", ".join(f"{group} {levels[group] or 'the default'}" for group in team)
            message = f"groups that grow together must have one threshold, got {told}"
            place = f"/growth/stages/{escaped(pattern)}/together"
            yield FieldError(pointer=place, code="other_threshold", message=message)


def _unknown(pointer: str, name: str, pattern: str, backbone: Backbone) -> FieldError:
    known = ", ".join(backbone.standard_widths)
    message = f"{name} must name groups of {backbone.name}, {known}; got {pattern!r}"
    return FieldError(pointer=pointer, code="unknown_group", message=message)
