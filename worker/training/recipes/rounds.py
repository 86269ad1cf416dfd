"""Rounds of growth: train, look at the fill, widen what is full, until nothing asks or may."""

from collections.abc import Sequence
from functools import partial

from slbi.growth.plan import Change, Plan, plan
from slbi.growth.rule import due, fills, shared
from worker.training import backbones
from worker.training.config import GrowConfig
from worker.training.count import Stopwatch
from worker.training.groups import by_group, teams
from worker.training.recipes.begin import (
    DEFAULT_THRESHOLD,
    closed,
    start_widths,
    thresholds,
    widest,
)
from worker.training.recipes.budget import Budget
from worker.training.recipes.family import Family
from worker.training.recipes.pace import within_latency
from worker.training.recipes.run import Cut, Run
from worker.training.recipes.widening import left, most_gaining, records, widen_run


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
        run.cut = _add_round(config, run, family)
        if refusal is None and run.round == config.growth.max_rounds - 1:
            refusal = f"max_rounds: {config.growth.max_rounds} rounds are done"
        late = run.team.told(budget.late(run.clock() - run.begun))
        refusal = refusal or late or _refusal(run, budget)
        run.end = refusal or _grow(config, run, budget)
        if run.end is not None:
            run.enter("tune")


def _grow(config: GrowConfig, run: Run, budget: Budget) -> str | None:
    """Widen what asks for it and may be, in place; return why nothing was, None if something."""
    together = teams(config.growth.stages, tuple(run.net.widths))
    filled = shared(fills(run.optimizer, run.net), run.net.widths, together)
    levels = thresholds(config.growth, run.net.widths)
    asking = due(filled, DEFAULT_THRESHOLD, levels)
    if not asking:
        return "no layer's fill reached its threshold"
    if config.growth.settled_where == "gain":
        asking = most_gaining(run, asking)
    # Measuring is the leader's alone: several that measure slow each other down.
    measures = run.team.leads or config.growth.max_latency_ms is None
    made = run.team.told(_plan(config, run, asking, budget) if measures else None)
    if made is None:
        raise TypeError("a leader must tell what it has planned")
    wider = made
    if not wider.changes:
        return "; ".join(f"{refused.group}: {refused.reason}" for refused in wider.refused)

    def reached(change: Change) -> str:
        return f"fill {filled[change.group]:.2f} reached {levels[change.group]:.2f}"

    run.recorder.growth(records(run, wider, filled, levels, reached))
    widen_run(config, run, wider)
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


def _add_round(config: GrowConfig, run: Run, family: Family) -> Cut:
    """Add the network of a round, and what its support makes of it, to the family.

    Returns:
        The network of the support.
    """
    whole = family.settled(run)
    family.add(run, whole, "grown", f"round {run.round}", run.validate(whole))
    cut = family.cut(run, left(config, run))
    accuracy = run.validate(cut.net)
    origin = f"round {run.round}, support"
    family.add(run, cut.net, "pruned", origin, accuracy, kept=cut.kept)
    return cut


def _plan(config: GrowConfig, run: Run, asking: Sequence[str], budget: Budget) -> Plan:
    """Return how the groups that ask for it are widened within the caps."""
    growth, net = config.growth, run.net
    groups = tuple(net.widths)
    standard = backbones.standard_widths(net.name, net.size, net.stem)
    make = partial(
        plan,
        net.widths,
        asking,
        ratio=by_group("ratio", growth.ratio, growth, groups),
        minimum=by_group("minimum", growth.minimum, growth, groups),
        multiple=growth.multiple,
        max_width=widest(growth, standard, start_widths(growth, groups)),
        closed=closed(growth, net),
        together=teams(growth.stages, groups),
        cost=net.cost,
        max_params=growth.max_params,
        max_macs=budget.affordable_macs(epochs=run.growth_epochs, spent=run.training_macs),
    )
    return within_latency(
        lambda slow: make(slow=slow), net, growth.max_latency_ms, Stopwatch(run.compute)
    )
