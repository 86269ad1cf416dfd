"""What a run of growth begins with: its first widths, its thresholds, its layers."""

from collections.abc import Iterable, Mapping

from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from slbi.structure.path import LayerRecord
from worker.training.config import GrowthConfig
from worker.training.recipes.budget import Budget

DEFAULT_THRESHOLD = 0.8
"""Fill of groups that a table of thresholds leaves out. Source: docs/method.md, "Growth"."""


def start_widths(config: GrowthConfig, groups: Iterable[str]) -> Widths:
    """Return the widths that a run starts from.

    Raises:
        ValueError: a table of start widths leaves a group out, or names one that does not exist.
    """
    known = tuple(groups)
    if not isinstance(config.start, Mapping):
        return Widths(dict.fromkeys(known, config.start))
    _check_groups("start", config.start, known)
    missing = [group for group in known if group not in config.start]
    if missing:
        raise ValueError(f"start must name every group, {', '.join(missing)} missing")
    return Widths({group: config.start[group] for group in known})


def thresholds(config: GrowthConfig, groups: Iterable[str]) -> dict[str, float]:
    """Return the fill at which each group is widened.

    Raises:
        ValueError: a table of thresholds names a group that does not exist.
    """
    known = tuple(groups)
    if not isinstance(config.threshold, Mapping):
        return dict.fromkeys(known, config.threshold)
    _check_groups("threshold", config.threshold, known)
    return {group: config.threshold.get(group, DEFAULT_THRESHOLD) for group in known}


def widest(config: GrowthConfig, standard: Widths, start: Widths) -> dict[str, int]:
    """Return how wide each group may become: never less than it starts with."""
    cap = config.max_width
    return {
        group: max(start[group], width if cap is None else cap) for group, width in standard.items()
    }


def check_start(config: GrowthConfig, net: Backbone, budget: Budget) -> None:
    """Refuse a table that does not suit the first network, or caps that it is beyond already.

    Raises:
        ValueError: a table of thresholds names a group that does not exist, or the network's
            parameters, its MACs, or one epoch of it with the tuning are too many.
    """
    thresholds(config, net.widths)
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


def path_layers(net: Backbone) -> tuple[LayerRecord, ...]:
    """Return the layers that the path follows: every group of the network, in its order."""
    return tuple(
        LayerRecord(index=index, name=group.name, kind=group.kind, growable=group.blended is None)
        for index, group in enumerate(net.coupling().groups)
    )


def _check_groups(name: str, table: Mapping[str, object], known: tuple[str, ...]) -> None:
    unknown = [group for group in table if group not in known]
    if unknown:
        raise ValueError(
            f"{name} must name groups of the backbone, {', '.join(known)}; got {', '.join(unknown)}"
        )
