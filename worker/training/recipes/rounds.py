"""Rounds of growth: train, look at the fill, widen what is full, until nothing asks or may."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from slbi.growth.plan import Plan, Refusal, plan
from slbi.growth.rule import due, fills
from slbi.growth.widen import restart, widen
from slbi.structure.path import GrowthRecord
from worker.training import backbones
from worker.training.config import GrowConfig
from worker.training.device import convolutions
from worker.training.recipes.begin import DEFAULT_THRESHOLD, start_widths, thresholds, widest
from worker.training.recipes.budget import Budget
from worker.training.recipes.family import Family
from worker.training.recipes.planting import planting
from worker.training.recipes.run import Cut, Run


def grow_rounds(config: GrowConfig, run: Run, family: Family, budget: Budget) -> None:
    """Run the rounds that are left, in place of `run`, which enters the tuning at their end.

    Between the last step of a round and the first of the next one nothing is kept: an attempt that
    ends there is followed by one that does all of it again, from the same numbers.

    Args:
        config: what to do.
        run: anywhere in a round.
        family: writes two members a round.
        budget: what the run may spend.
    """
    while run.end is None:
        refusal = _round(config, run, budget)
        run.cut = _add_round(run, family)
        if refusal is None and run.round == config.growth.max_rounds - 1:
            refusal = f"max_rounds: {config.growth.max_rounds} rounds are done"
        late = run.team.told(budget.late(run.clock() - run.begun))
        refusal = refusal or late or _refusal(run, budget)
        run.end = refusal or _grow(config, run, budget)
        if run.end is not None:
            run.enter("tune")


def _grow(config: GrowConfig, run: Run, budget: Budget) -> str | None:
    """Widen what asks for it and may be, in place; return why nothing was, None if something."""
    filled = fills(run.optimizer, run.net)
    levels = thresholds(config.growth, run.net.widths)
    asking = due(filled, DEFAULT_THRESHOLD, levels)
    if not asking:
        return "no layer's fill reached its threshold"
    wider = run.team.told(_plan(config, run, asking, budget))
    if not wider.changes:
        return "; ".join(f"{refused.group}: {refused.reason}" for refused in wider.refused)
    run.recorder.growth(_records(run, wider, filled, levels))
    _widen(config, run, wider, run.draws["growth"])
    run.round += 1
    run.enter("grow")
    return None


def _round(config: GrowConfig, run: Run, budget: Budget) -> str | None:
    """Train for what is left of a round, in place; return why it ended early, if it did."""
    while run.phase_epoch < config.growth.round_epochs:
        if not run.batches.position and (refusal := _refusal(run, budget)) is not None:
            return refusal
        steps = [config.optim.learning_rate] * len(run.batches)
        run.train(steps, run.selected)
    return None


def _refusal(run: Run, budget: Budget) -> str | None:
    """Return why no further epoch of growth may begin, None if one may."""
    return budget.refusal(epochs=run.growth_epochs, macs=run.net.cost()[1], spent=run.training_macs)


def _add_round(run: Run, family: Family) -> Cut:
    """Add the network of a round, and what its support makes of it, to the family.

    Returns:
        The network of the support.
    """
    whole = family.settled(run)
    family.add(run, whole, "grown", f"round {run.round}", run.validate(whole))
    cut = family.cut(run, run.selected())
    accuracy = run.validate(cut.net)
    origin = f"round {run.round}, support"
    family.add(run, cut.net, "pruned", origin, accuracy, kept=cut.kept)
    return cut


def _plan(config: GrowConfig, run: Run, asking: Sequence[str], budget: Budget) -> Plan:
    """Return how the groups that ask for it are widened within the caps."""
    growth, net = config.growth, run.net
    standard = backbones.standard_widths(net.name, net.size, net.stem)
    start = start_widths(growth, net.widths)
    kept = {group.name: group.blended for group in net.coupling().groups if group.blended}
    planned = plan(
        net.widths,
        [group for group in asking if group not in kept],
        ratio=growth.ratio,
        minimum=growth.minimum,
        multiple=growth.multiple,
        max_width=widest(growth, standard, start),
        cost=net.cost,
        max_params=growth.max_params,
        max_macs=budget.affordable_macs(epochs=run.growth_epochs, spent=run.training_macs),
    )
    stay = tuple(
        Refusal(group=group, reason=f"it keeps its width: {kept[group]}")
        for group in asking
        if group in kept
    )
    return replace(planned, refused=(*planned.refused, *stay))


def _records(
    run: Run, wider: Plan, filled: Mapping[str, float], levels: Mapping[str, float]
) -> list[GrowthRecord]:
    """Return what the path keeps of one round's growth."""
    indices = {layer.name: layer.index for layer in run.layers}
    records = []
    for change in wider.changes:
        fill, level = filled[change.group], levels[change.group]
        cut = f"; the caps leave {change.after} of {change.wanted} filters"
        reason = f"fill {fill:.2f} reached {level:.2f}"
        records.append(
            GrowthRecord(
                step=run.step,
                round=run.round,
                layer=indices[change.group],
                before=change.before,
                after=change.after,
                fill=fill,
                threshold=level,
                reason=reason + (cut if change.after < change.wanted else ""),
            )
        )
    return records


def _widen(config: GrowConfig, run: Run, wider: Plan, draw: torch.Generator) -> None:
    """Widen the network of a run, in place of the run."""
    with convolutions(run.net, run.compute):
        if config.growth.mode == "restart":
            pair = restart(run.net, run.optimizer, wider.widths, generator=draw)
        else:
            planted = planting(config.growth.seed, run.data, run.compute, draw)
            pair = widen(run.net, run.optimizer, wider.widths, seed=planted, generator=draw)
    run.net, run.optimizer = pair
    run.compute.place(run.net)
