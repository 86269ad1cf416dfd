"""What a `prune` run leaves of a network: by percent, by a budget, or by measured latency."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.pruning.by_order import kept_by_order
from slbi.pruning.latency import Fast, by_latency
from slbi.pruning.rank import Order, by_budget, filter_norms, rank, rank_together
from slbi.pruning.refill import refilled
from worker.training.count import Stopwatch, Timing
from worker.training.groups import members, staged
from worker.training.plans import PruningConfig
from worker.training.recipes.begin import least_widths
from worker.training.recipes.source import Started
from worker.training.recipes.twin import layer_weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What stays of a network."""

    filters: Mapping[str, Tensor]
    """Group -> (O,) bool, for the groups that are pruned."""
    entries: Mapping[str, Tensor]
    """Weight -> bool of its shape, for those whose entries go singly."""
    latency: Mapping[str, Any] | None = None
    """What was measured, for the findings; None if nothing was."""


def choose(started: Started, pruning: PruningConfig, stopwatch: Stopwatch) -> Chosen:
    """Return what stays of a network.

    Args:
        started: the network, on the device where latency counts.
        pruning: how much of it, and by which order.
        stopwatch: measures, if latency counts.

    Raises:
        ValueError: a group or weight that the network does not have, an order that the source does
            not have, a group that cannot be pruned, or a budget or latency that the smallest widths
            do not reach.
    """
    net, order = started.net, cast("Order", pruning.order)
    norms = {group: norm.cpu() for group, norm in filter_norms(net).items()}
    spared = _spared(net, pruning)
    for group in spared:
        norms.pop(group)
    widths: dict[str, Any] = {
        "multiple": pruning.multiple,
        "min_width": least_widths(pruning, net.widths),
    }
    percents = _percents(net, pruning)
    if percents is not None:
        entry = started.entry
        ranks = {
            group: _ranked(group, norms[group], entry.get(group), order)
            for group in percents
            if group in norms
        }
        sizes = {
            name: net.get_parameter(name).detach().abs().cpu()
            for name in percents
            if name not in net.widths
        }
        kept = {group: kept_by_order(ranks[group], percents[group]) for group in ranks}
        return Chosen(
            filters=refilled(net, kept, ranks, **widths),
            entries={
                name: kept_by_order(_ranked(name, sizes[name], entry.get(name), order), percent)
                for name, percent in percents.items()
                if name in sizes
            },
        )
    together = rank_together(norms, started.entry, order)
    if pruning.max_latency_ms is None:
        caps: dict[str, Any] = {"max_macs": pruning.max_macs, "max_params": pruning.max_params}
        return Chosen(filters=by_budget(net, together, **caps, **widths), entries={})
    fast = by_latency(net, together, pruning.max_latency_ms, stopwatch, **widths)
    return Chosen(filters=fast.keep, entries={}, latency=_told(fast, stopwatch))


def _spared(net: Backbone, pruning: PruningConfig) -> tuple[str, ...]:
    """Return the groups of which nothing goes: excluded, or under a norm over all their filters."""
    excluded = members("exclude", pruning.exclude, tuple(net.widths))
    blended = [group.name for group in net.coupling().groups if group.blended is not None]
    return tuple(group for group in net.widths if group in excluded or group in blended)


def _percents(net: Backbone, pruning: PruningConfig) -> dict[str, float] | None:
    """Return group or linear weight -> percent that goes; None if no percent is given.

    Raises:
        ValueError: there is no such group or weight, or nothing of the group may go.
    """
    groups = tuple(net.widths)
    stages = staged(pruning.stages, groups)
    of_stage = {group: own["percent"] for group, own in stages.items() if "percent" in own}
    percent = pruning.percent
    if percent is None:
        return of_stage or None
    if not isinstance(percent, Mapping):
        return dict.fromkeys(groups, percent) | of_stage
    linear = [name for name, weight in layer_weights(net).items() if weight.ndim == 2]
    unknown = [name for name in percent if name not in groups and name not in linear]
    if unknown:
        known = ", ".join([*groups, *linear])
        raise ValueError(f"percent must name groups or linear weights, {known}; got {unknown[0]}")
    for group in net.coupling().groups:
        if group.blended is not None and group.name in percent:
            raise ValueError(f"{group.name} cannot be pruned: {group.blended}")
    return of_stage | dict(percent)


def _ranked(name: str, norms: Tensor, entry: Tensor | None, order: Order) -> Tensor:
    try:
        return rank(norms, entry, order)
    except ValueError as error:
        raise ValueError(f"{name} cannot be ranked: {error}") from error


def _told(fast: Fast, stopwatch: Stopwatch) -> dict[str, Any]:
    """Return what was measured, as JSON can say it."""
    told: dict[str, Any] = {
        "target_ms": fast.limit_ms,
        "reached_ms": fast.ms,
        "met": fast.met,
        "device": stopwatch.compute.device.type,
        "threads": torch.get_num_threads(),
    }
    for name, timing in (("dense", stopwatch.reference), ("reached", stopwatch.last)):
        if timing is not None:
            told |= _spread(name, timing)
    if not fast.met:
        told["why"] = (
            "the whole network is faster than that: nothing went"
            if fast.wider_ms is None
            else f"the next wider widths that were measured take {fast.wider_ms:.3g} ms"
        )
    return told


def _spread(name: str, timing: Timing) -> dict[str, Any]:
    return {f"{name}_ms": timing.ms, f"{name}_quartiles_ms": [timing.low_ms, timing.high_ms]}
