"""What a run of growth begins with: its first widths, its thresholds, its layers."""

from collections.abc import Collection, Iterable, Mapping

from slbi.growth.choice import Limits, first, levelled
from slbi.growth.stages import Target, check_first, check_rising
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from slbi.structure.path import LayerRecord
from worker.training import backbones
from worker.training.config import FIRST, GrowthConfig
from worker.training.groups import ByGroup, by_group, members, teams
from worker.training.recipes.budget import Budget

DEFAULT_THRESHOLD = 0.8
"""Fill of groups that a table of thresholds leaves out. Source: docs/method.md, "Growth"."""


def first_widths(config: GrowthConfig, net: Backbone) -> Widths:
    """Return the widths that a run starts from: with targets a small network, all groups alike.

    Args:
        config: of the run.
        net: of the same spec at its standard widths; it needs no data.

    Raises:
        ValueError: as `start_widths`, or the first target is below the narrowest network or the
            start asked for.
    """
    if not config.targets:
        return start_widths(config, net.widths)
    if config.start != "auto":
        asked = start_widths(config, net.widths)
        check_first(net.cost(asked), targets(config, net)[0])
        one_for_all = isinstance(config.start, int) and config.settled_where == "alike"
        return _not_beyond_the_first(config, net, asked) if one_for_all else asked
    start = by_group("start", None, config, tuple(net.widths), default=1)
    least = least_widths(config, net.widths)
    target = targets(config, net)[0]
    narrowest = {group: max(start[group] or 1, least[group]) for group in net.widths}
    standard = Widths({group: max(narrowest[group], net.widths[group]) for group in net.widths})
    try:
        return first(
            standard,
            target,
            cost=net.cost,
            least=narrowest,
            closed=tuple(closed(config, net)),
        )
    except ValueError as error:
        raise ValueError(f"targets.0: {error}") from error


def _not_beyond_the_first(config: GrowthConfig, net: Backbone, asked: Widths) -> Widths:
    """Return first widths of which none is above that of the first target, all groups alike.

    One number for all groups says how large to begin, not which shape to keep for ever.

    Args:
        config: of the run.
        net: of the same spec at its standard widths.
        asked: the first widths asked for.
    """
    least = Widths(least_widths(config, net.widths))
    room = targets(config, net)[0].limits
    try:
        aim = levelled(least, net.widths, **limits(config, net, net.widths, least, room)).widths
    except ValueError:
        return asked  # the target is below any network, which is refused where it is checked
    never = closed(config, net)
    return asked.replaced({g: min(asked[g], aim[g]) for g in asked if g not in never})


def limits(
    config: GrowthConfig,
    net: Backbone,
    standard: Widths,
    widths: Widths,
    room: Mapping[str, int],
) -> Limits:
    """Return what a widening toward a target keeps to.

    Args:
        config: of the run.
        net: of the same spec, whatever its widths.
        standard: widths.
        widths: before it.
        room: what the network may cost, by the names of `plan`.
    """
    return {
        "multiple": config.multiple,
        "max_width": widest(config, standard, widths),
        "closed": closed(config, net),
        "together": teams(config.stages, tuple(standard)),
        "cost": net.cost,
        "max_params": room.get("max_params"),
        "max_macs": room.get("max_macs"),
    }


def targets(config: GrowthConfig, net: Backbone) -> tuple[Target, ...]:
    """Return the targets of a run; none where it has none.

    Args:
        config: of the run.
        net: of the same spec, whatever its widths.

    Raises:
        ValueError: they do not rise.
    """
    whole = net.cost(backbones.standard_widths(net.name, net.size, net.stem))[1]
    found = []
    for told in config.targets:
        macs = int(told["share"] * whole) if told.get("share") else told.get("max_macs")
        params = told.get("max_params")
        found.append(
            Target(
                max_macs=None if macs is None else int(macs),
                max_params=None if params is None else int(params),
                max_latency_ms=told.get("max_latency_ms"),
            )
        )
    check_rising(found)
    return tuple(found)


def start_widths(config: GrowthConfig, groups: Iterable[str]) -> Widths:
    """Return the widths that a run without targets starts from, never below the least ones.

    Raises:
        ValueError: a table names a group that does not exist, or leaves one without a start width.
    """
    known = tuple(groups)
    asked = FIRST if config.start == "auto" else config.start
    start = by_group("start", asked, config, known)
    missing = [group for group, width in start.items() if width is None]
    if missing:
        raise ValueError(f"start must name every group, {', '.join(missing)} missing")
    least = least_widths(config, known)
    return Widths({group: max(start[group], least[group]) for group in known})


def least_widths(config: ByGroup, groups: Iterable[str]) -> dict[str, int]:
    """Return the fewest filters of every group.

    Raises:
        ValueError: a table names a group that does not exist.
    """
    return by_group("min_width", config.min_width, config, tuple(groups), default=1)


def thresholds(config: GrowthConfig, groups: Iterable[str]) -> dict[str, float]:
    """Return the fill at which each group is widened.

    Raises:
        ValueError: a table names a group that does not exist, or groups that grow together have
            different thresholds.
    """
    known = tuple(groups)
    levels = by_group("threshold", config.threshold, config, known, default=DEFAULT_THRESHOLD)
    for team in teams(config.stages, known):
        if len({levels[group] for group in team}) > 1:
            told = ", ".join(f"{group} {levels[group]}" for group in team)
            raise ValueError(f"groups that grow together must have one threshold, got {told}")
    return levels


def widest(config: GrowthConfig, standard: Widths, start: Widths) -> dict[str, int]:
    """Return how wide each group may become: never less than it starts with."""
    caps = by_group("max_width", config.max_width, config, tuple(standard))
    return {
        group: max(start[group], width if caps[group] is None else caps[group])
        for group, width in standard.items()
    }


def closed(config: GrowthConfig, net: Backbone) -> dict[str, str]:
    """Return the groups that are never widened, each with the reason.

    Raises:
        ValueError: `exclude` names a group that does not exist.
    """
    found = {group.name: group.blended for group in net.coupling().groups if group.blended}
    asked = dict.fromkeys(members("exclude", config.exclude, tuple(net.widths)), "it is excluded")
    return {**found, **asked}


def check_start(config: GrowthConfig, net: Backbone, budget: Budget) -> None:
    """Refuse a table that does not suit the first network, or caps that it is beyond already.

    Targets, which then are the caps, are checked elsewhere.

    Raises:
        ValueError: a table names a group that does not exist, or the network's parameters, its
            MACs, or one epoch of it with the tuning are too many.
    """
    thresholds(config, net.widths)
    closed(config, net)
    if config.targets:
        return
    params, macs = net.cost()
    sizes = (("max_params", config.max_params, params), ("max_macs", config.max_macs, macs))
    for name, cap, needed in sizes:
        if cap is not None and needed > cap:
            raise ValueError(
                f"{name} must be at least {needed}, as many as start asks for, got {cap}"
            )
    refusal = budget.refusal(epochs=0, macs=macs, spent=0)
    if refusal is not None:
        raise ValueError(f"a run must afford one epoch of growth; {refusal}")


def path_layers(net: Backbone, closed: Collection[str] = ()) -> tuple[LayerRecord, ...]:
    """Return the layers that the path follows: every group of the network, in its order.

    Args:
        net: the network.
        closed: groups that are never widened.
    """
    return tuple(
        LayerRecord(
            index=index, name=group.name, kind=group.kind, growable=group.name not in closed
        )
        for index, group in enumerate(net.coupling().groups)
    )
