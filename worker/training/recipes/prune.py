"""The recipe `prune`: filters of a finished network go, by their order; what is left is tuned."""

from collections.abc import Mapping
from functools import partial

import torch

from slbi.pruning.mask import filter_masks
from worker.training.count import Stopwatch
from worker.training.device import generator
from worker.training.plans import PruneConfig
from worker.training.recipes.begin import path_layers
from worker.training.recipes.choice import Chosen, choose
from worker.training.recipes.conduct import Surroundings, Workplace, conduct
from worker.training.recipes.family import Family, everywhere
from worker.training.recipes.lesson import learn
from worker.training.recipes.masks import impose
from worker.training.recipes.remember import recall_support, remember_support, remembered
from worker.training.recipes.result import Result
from worker.training.recipes.run import Run
from worker.training.recipes.source import Started, start_from, told
from worker.training.recipes.twin import plain
from worker.training.recorder import ModelKind


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
            ms = _measured_ms(run)
            family.add(run, run.net, "tuned", "pruned, tuned", run.accuracy, kept=kept, ms=ms)
            _find(run, {"tuned": run.accuracy})

    return conduct(config, around, partial(_begin, config), body, told=told(config, config.source))


def _begin(config: PruneConfig, place: Workplace) -> Run:
    draw = generator(place.seed, "weights")
    started = start_from(
        config.source, config.backbone, place.data, stem=config.stem, generator=draw
    )
    net = started.net
    place.compute.place(net)
    chosen = _chosen(config, place, started)
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
    found = {"adapted": list(started.adapted), "latency": chosen.latency}
    run.notes |= {name: value for name, value in found.items() if value}
    return run


def _chosen(config: PruneConfig, place: Workplace, started: Started) -> Chosen:
    """Return what stays of the network; an attempt that goes on was told by its state."""
    if place.around.state is not None:
        return Chosen(filters={}, entries={})
    stopwatch, team = Stopwatch(place.compute), place.around.team
    if config.pruning.max_latency_ms is None:
        return choose(started, config.pruning, stopwatch)
    # A clock is no number that all processes share, and two that measure slow each other down.
    chosen = team.told(choose(started, config.pruning, stopwatch) if team.leads else None)
    if chosen is None:
        raise TypeError("a leader must tell what it has chosen")
    return chosen


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
    kind: ModelKind = "pruned" if kept else "masked"
    family.add(run, settled, kind, "pruned", accuracy, kept=kept, ms=_measured_ms(run))
    run.optimizer = plain(run.net, config.optim)


def _measured_ms(run: Run) -> float | None:
    """Return the latency of the pruned network if it was pruned by that, ms."""
    latency = run.notes.get("latency")
    return None if latency is None else latency["reached_ms"]


def _find(run: Run, accuracy: Mapping[str, float]) -> None:
    """Tell a validation accuracy beside those told before."""
    run.notes["accuracy"] = {**run.notes.get("accuracy", {}), **accuracy}
    params, macs = run.net.cost()
    support, entries = recall_support(run), remembered(run, "entries")
    stays = [(layer.name, support[layer.name]) for layer in run.layers] + sorted(entries.items())
    layers = [
        {"layer": name, "total": left.numel(), "kept": int(left.sum())} for name, left in stays
    ]
    found = {"accuracy": run.notes["accuracy"], "params": params, "macs": macs, "layers": layers}
    found |= {name: run.notes[name] for name in ("latency", "adapted") if name in run.notes}
    run.recorder.findings(found)
