"""The recipe `prune`: filters of a finished network go, by their order; what is left is tuned."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from slbi.pruning.by_order import kept_by_order
from slbi.pruning.mask import filter_masks
from slbi.pruning.rank import Order, by_budget, filter_norms, rank, rank_together
from worker.training.plans import PruneConfig, PruningConfig
from worker.training.recipes.begin import path_layers
from worker.training.recipes.conduct import Surroundings, Workplace, conduct
from worker.training.recipes.family import Family, everywhere
from worker.training.recipes.lesson import learn
from worker.training.recipes.masks import impose
from worker.training.recipes.remember import recall_support, remember_support, remembered
from worker.training.recipes.result import Result
from worker.training.recipes.run import Run
from worker.training.recipes.source import Started, start_from
from worker.training.recipes.twin import layer_weights, plain


def prune(config: PruneConfig, around: Surroundings) -> Result:
    """Prune a finished network and tune what is left, or go on with it.

    Raises:
        as `conduct`; also ValueError if the source does not suit the data set or has no entry order
        that the config asks for.
    """

    def body(run: Run, family: Family) -> None:
        _prune(config, run, family)
        learn(run, config.finetune, config.optim.learning_rate, lambda: recall_support(run))
        if config.finetune.epochs:
            kept = recall_support(run) if config.pruning.slice else None
            family.add(run, run.net, "tuned", "pruned, tuned", run.accuracy, kept=kept)
            _find(run, {"tuned": run.accuracy})

    return conduct(config, around, partial(_begin, config), body, told=_told(config))


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What stays of a network."""

    filters: Mapping[str, Tensor]
    """Group -> (O,) bool, for the groups that are pruned."""
    entries: Mapping[str, Tensor]
    """Weight -> bool of its shape, for those whose entries go singly."""


def choose(started: Started, pruning: PruningConfig) -> Chosen:
    """Return what stays of a network.

    Raises:
        ValueError: a group or weight that the network does not have, an order that the source does
            not have, or a budget below one filter a group.
    """
    net, order = started.net, cast("Order", pruning.order)
    blended = {group.name: group.blended for group in net.coupling().groups if group.blended}
    norms = {name: of for name, of in filter_norms(net).items() if name not in blended}
    if pruning.percent is None:
        ranks = rank_together(norms, started.entry, order)
        budget = {"max_macs": pruning.max_macs, "max_params": pruning.max_params}
        return Chosen(filters=by_budget(net, ranks, **budget), entries={})
    percents = pruning.percent
    table = percents if isinstance(percents, Mapping) else dict.fromkeys(norms, percents)
    weights = {name: weight for name, weight in layer_weights(net).items() if weight.ndim == 2}
    unknown = [name for name in table if name not in norms and name not in weights]
    if unknown:
        known = ", ".join([*norms, *weights])
        why = f", which keeps its width: {blended[unknown[0]]}" if unknown[0] in blended else ""
        raise ValueError(
            f"percent must name groups or linear weights, {known}; got {unknown[0]}{why}"
        )
    filters, entries = {}, {}
    for name, percent in table.items():
        if name in norms:
            ranks_of = _ranked(started, name, norms[name], order)
            filters[name] = kept_by_order(ranks_of, percent)
        else:
            ranks_of = _ranked(started, name, weights[name].detach().abs(), order)
            entries[name] = kept_by_order(ranks_of, percent)
    return Chosen(filters=filters, entries=entries)


def _ranked(started: Started, name: str, norms: Tensor, order: Order) -> Tensor:
    try:
        return rank(norms, started.entry.get(name), order)
    except ValueError as error:
        raise ValueError(f"{name} cannot be ranked: {error}") from error


def _begin(config: PruneConfig, place: Workplace) -> Run:
    started = start_from(config.source, config.backbone, config.stem, place.data)
    net = started.net
    chosen = choose(started, config.pruning)
    place.compute.place(net)
    run = place.run(
        net,
        plain(net, config.optim),
        path_layers(net),
        phase="prune",
        epochs=config.finetune.epochs,
    )
    everything = {name: torch.ones_like(stays) for name, stays in everywhere(net).items()}
    remember_support(run, everything | dict(chosen.filters))
    for name, stays in chosen.entries.items():
        run.memory[f"entries/{name}"] = stays
    run.order.load_state_dict(started.entry)
    return run


def _prune(config: PruneConfig, run: Run, family: Family) -> None:
    """Prune the network of a run and add it to the family, in place, unless that is done."""
    if "accuracy" in run.notes:
        return
    _find(run, {"source": run.validate(run.net)})
    keep = dict(recall_support(run))
    entries, bias = remembered(run, "entries"), config.pruning.bias
    masks = filter_masks(run.net, keep, silent=bias)
    for name, mask in entries.items():  # a weight may lose rows and single entries
        masks[name] = masks[name] & mask if name in masks else mask
    impose(run, masks)
    kept = None
    if config.pruning.slice:
        cut = family.sliced(run, keep, bias=bias)
        run.net, kept = cut.net, cut.kept
        remember_support(run, kept)
        # Their columns went with the filters; what was pruned singly is exactly zero.
        run.masks = {name: run.net.get_parameter(name).detach() != 0 for name in entries}
    _find(run, {"pruned": run.validate(run.net)})
    settled = family.settled(run)
    accuracy = run.validate(settled)
    _find(run, {"pruned, norms measured anew": accuracy})
    family.add(run, settled, "pruned" if kept else "masked", "pruned", accuracy, kept=kept)
    run.optimizer = plain(run.net, config.optim)


def _find(run: Run, accuracy: Mapping[str, float]) -> None:
    """Tell a validation accuracy beside those told before."""
    run.notes["accuracy"] = {**run.notes.get("accuracy", {}), **accuracy}
    params, macs = run.net.cost()
    support, entries = recall_support(run), remembered(run, "entries")
    stays = [(layer.name, support[layer.name]) for layer in run.layers] + sorted(entries.items())
    layers = [
        {"layer": name, "total": left.numel(), "kept": int(left.sum())} for name, left in stays
    ]
    told = {"accuracy": run.notes["accuracy"], "params": params, "macs": macs, "layers": layers}
    run.recorder.findings(told)


def _told(config: PruneConfig) -> dict[str, Any]:
    """Return the config as JSON can say it; files go by what they hold, not by where they lie."""
    source = {}
    for name, path in (("checkpoint", config.source.checkpoint), ("order", config.source.order)):
        if path is not None:
            with path.open("rb") as file:
                source[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return {**asdict(config), "source": source}
