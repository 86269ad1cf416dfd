"""The recipe `ticket`: an early mask, trained from early weights, against its rivals."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, cast

import torch

from slbi.nets.backbone import Backbone
from slbi.structure.overlap import overlap
from worker.training.data.load import Data, load
from worker.training.device import Purpose, generator
from worker.training.epoch import Tally
from worker.training.plans import TicketConfig
from worker.training.recipes.conduct import (
    Surroundings,
    Workplace,
    batches_of,
    conduct,
)
from worker.training.recipes.family import Family, everywhere, leave_data
from worker.training.recipes.files import add_masks, add_order
from worker.training.recipes.fresh import fresh
from worker.training.recipes.lesson import coupled, learn
from worker.training.recipes.masks import filters_of, impose, lasting, support_masks
from worker.training.recipes.remember import (
    recall_support,
    remember,
    remember_support,
    remembered,
)
from worker.training.recipes.result import Result
from worker.training.recipes.run import Run, Support
from worker.training.recipes.source import start_from, told
from worker.training.recipes.train import kept_shares
from worker.training.recipes.twin import plain, twin_layers

Arm = Literal["ticket", "random", "dense"]
"""What is trained and compared; a phase of the run, and the kind of the model that it leaves."""

_RIVALS: tuple[Arm, ...] = ("random", "dense")
_ORIGINS = {
    "ticket": "ticket",
    "random": "its mask over random weights",
    "dense": "its weights without a mask",
}


def ticket(config: TicketConfig, around: Surroundings) -> Result:
    """Find a winning ticket and compare it with its rivals, or go on with that.

    Raises:
        as `conduct`; also ValueError if the images of `transfer_to` are of another shape.
    """
    state = around.state
    transferred = state is not None and bool(state.about["counters"]["transferred"])

    data = config.data
    if transferred and config.transfer_to is not None:
        data = replace(data, dataset=config.transfer_to)

    def begin(place: Workplace) -> Run:
        if state is None and config.transfer_to is not None:
            _second(config, around, place.data)  # not found out when the first half is done
        return _begin(config, place)

    def body(run: Run, family: Family) -> None:
        _search(config, run, family)
        while run.phase != "train":
            _arm(config, run, family)
            if not _next(config, run, around):
                break
        run.recorder.findings(_findings(config, run))

    return conduct(config, around, begin, body, data=data, told=told(config, config.source))


def _begin(config: TicketConfig, place: Workplace) -> Run:
    draw = generator(place.seed, "weights")
    adapted: Sequence[str] = ()
    if config.source is None:
        net = fresh(config, place.data, place.compute, draw)
    else:
        started = start_from(
            config.source, config.backbone, place.data, stem=config.stem, generator=draw
        )
        net, adapted = started.net, started.adapted
        place.compute.place(net)
    arms = (1 + len(set(config.rivals))) * (1 + (config.transfer_to is not None))
    run = place.run(
        net,
        coupled(net, config.optim, config.twin, config.train, len(place.batches)),
        twin_layers(net, config.twin),
        phase="train",
        epochs=config.train.epochs + arms * config.retrain.epochs,
    )
    run.watches_support = True
    if adapted:
        run.notes["adapted"] = list(adapted)
    if config.start == "initial":
        own = generator(place.seed, "initial")
        initial = fresh(_like(config, net), place.data, place.compute, own)
        run.memory |= {f"early/{name}": each for name, each in initial.state_dict().items()}
    return run


def _like(config: TicketConfig, net: Backbone) -> TicketConfig:
    """Return the config of a run on a network of the stem and widths of another one."""
    return replace(config, stem=net.stem, widths=dict(net.widths), source=None, start=None)


def _search(config: TicketConfig, run: Run, family: Family) -> None:
    """Train with SLBI until the mask is taken, in place; the ticket's own training comes next."""
    if run.phase != "train":
        return
    learn(
        run, config.train, config.optim.learning_rate, run.selected,
        done=lambda: _taken(config, run),
    )  # fmt: skip
    _taken(config, run)
    stays = lasting(run, run.selected())
    run.epochs -= config.train.epochs - run.phase_epoch
    run.notes["mask_epoch"] = run.phase_epoch
    run.notes["layers"] = kept_shares(run, stays)
    remember_support(run, stays)
    add_order(run, family.output, mark=family.mark)
    masks = support_masks(run, stays)
    add_masks(run, family.output, masks, mark=family.mark)
    for name, mask in masks.items():
        run.memory[f"mask/{name}"] = mask
    _start(config, run, "ticket")


def _taken(config: TicketConfig, run: Run) -> bool:
    """Return whether the mask is taken at this end of an epoch; keep what the next one compares."""
    if run.phase_epoch == config.mask.rewind and config.start != "initial":
        remember(run, "early")
    overlaps: list[float] = run.notes.setdefault("overlaps", [])
    selected = run.selected()
    if len(overlaps) < run.phase_epoch - 1:  # else this end was looked at already
        overlaps.append(overlap(recall_support(run, "last"), selected))
    remember_support(run, selected, "last")
    if config.mask.epoch != "auto":
        return run.phase_epoch >= config.mask.epoch
    return run.phase_epoch >= config.mask.rewind and stable(
        overlaps, config.mask.stable, config.mask.patience
    )


def stable(overlaps: Sequence[float], threshold: float, patience: int) -> bool:
    """Return whether the last `patience` overlaps have all reached the threshold."""
    return len(overlaps) >= patience and min(overlaps[-patience:]) >= threshold


def _arm(config: TicketConfig, run: Run, family: Family) -> None:
    """Train what is left of an arm and add it to the family, in place."""
    base = config.optim.learning_rate
    learn(run, config.retrain, base, lambda: _free(run))
    # Masked filters are silent, so that nothing changes without them.
    cut = family.sliced(run, everywhere(run.net) | filters_of(run, _free(run)))
    arm = cast("Arm", run.phase)
    family.add(run, cut.net, arm, _ORIGINS[arm], run.accuracy, kept=cut.kept)


def _free(run: Run) -> Support:
    """Return what the masks of an arm leave of every layer: all where it has none."""
    support = recall_support(run)
    return {
        layer.name: run.masks.get(
            layer.name, torch.ones_like(run.net.get_parameter(layer.name), dtype=torch.bool)
        )
        if layer.structure == "element"
        else support[layer.name] | (not run.masks)
        for layer in run.layers
    }


def _next(config: TicketConfig, run: Run, around: Surroundings) -> bool:
    """Begin the arm that follows, in place; return False if there is none."""
    arms: list[Arm] = ["ticket", *(arm for arm in _RIVALS if arm in config.rivals)]
    position = arms.index(cast("Arm", run.phase)) + 1
    if position == len(arms):
        if config.transfer_to is None or run.transferred:
            return False
        _transfer(config, run, around)
        position = 0
    _start(config, run, arms[position])
    return True


def _transfer(config: TicketConfig, run: Run, around: Surroundings) -> None:
    """Go over to the second data set, in place."""
    leave_data(run)
    run.data, run.transferred = _second(config, around, run.data), True


def _second(config: TicketConfig, around: Surroundings, first: Data) -> Data:
    """Return the second data set.

    Raises:
        DatasetError: it is absent or cannot be used.
        ValueError: its images are of another shape than those of the first.
    """
    data = load(
        replace(config.data, dataset=config.transfer_to or ""),
        around.directories,
        split=generator(config.compute.seed, "split"),
        device=first.train.labels.device,
    )
    if (data.channels, data.size) != (first.channels, first.size):
        raise ValueError(
            f"transfer_to must have images of {first.channels} channels and {first.size} px, "
            f"{data.name} has {data.channels} and {data.size}"
        )
    return data


def _start(config: TicketConfig, run: Run, arm: Arm) -> None:
    """Put the run before the first step of an arm, in place: the same batches for each."""
    run.enter(arm)
    run.tally = Tally(run.compute.device)
    run.batches = batches_of(run.data, config.optim.batch, config.compute.seed, run.team)
    purpose: Purpose = "rival" if arm == "random" else "transfer"
    like = config if config.source is None else _like(config, run.net)
    run.net = fresh(like, run.data, run.compute, generator(config.compute.seed, purpose))
    if arm != "random":
        own = run.net.state_dict()
        early = remembered(run, "early")
        # A classifier of other classes begins anew.
        fitting = {name: early[name] for name in own if early[name].shape == own[name].shape}
        run.net.load_state_dict({**own, **fitting})
    run.optimizer = plain(run.net, config.optim)
    masks = {} if arm == "dense" else remembered(run, "mask")
    own_shapes = {name: parameter.shape for name, parameter in run.net.named_parameters()}
    impose(
        run,
        {name: mask for name, mask in masks.items() if _fits(mask.shape, own_shapes[name])},
    )


def _fits(mask: Sequence[int], shape: Sequence[int]) -> bool:
    return all(ours in {1, theirs} for ours, theirs in zip(mask, shape, strict=True))


def _findings(config: TicketConfig, run: Run) -> dict[str, object]:
    """Return what came of the comparison, as JSON can say it."""
    return {
        "mask_epoch": run.notes["mask_epoch"],
        "mask_chosen": "given" if config.mask.epoch != "auto" else _chosen(config, run),
        "rewound_to": config.mask.rewind,
        **_told_source(config, run),
        "overlaps": run.notes["overlaps"],
        "layers": run.notes["layers"],
        "arms": [
            {
                "arm": member.kind,
                "dataset": member.dataset or config.data.dataset,
                "validation_accuracy": member.validation_accuracy,
                "params": member.params,
                "macs": member.macs,
            }
            for member in run.members
        ],
    }


def _told_source(config: TicketConfig, run: Run) -> dict[str, object]:
    """Return where a ticket with a source starts, and what of that is not as its file has it."""
    if config.source is None:
        return {}
    adapted = {"adapted": run.notes["adapted"]} if "adapted" in run.notes else {}
    return {"start": config.start or "source", **adapted}


def _chosen(config: TicketConfig, run: Run) -> str:
    mask = config.mask
    if stable(run.notes["overlaps"], mask.stable, mask.patience):
        return "stable"
    return "the last epoch: the mask did not become stable"
