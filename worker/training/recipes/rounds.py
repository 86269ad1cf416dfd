"""Rounds of growth: train, look at the fill, widen what is full, until nothing asks or may."""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean

from slbi.growth.plan import Change, Plan, plan
from slbi.growth.plateau import better, stalled
from slbi.growth.rule import due, fills, shared
from slbi.growth.twins import round_mu
from slbi.nets.backbone import Backbone
from worker.training import backbones
from worker.training.config import GrowConfig, GrowthConfig
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
from worker.training.recipes.widening import (
    at_new_rate,
    left,
    most_gaining,
    records,
    widen_run,
)
from worker.training.schedule import rates


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
        with at_new_rate(config, run):
            refusal = _round(config, run, budget)
        run.cut = _add_round(config, run, family)
        if refusal is None and run.round == config.growth.max_rounds - 1:
            refusal = f"max_rounds: {config.growth.max_rounds} rounds are done"
        late = run.team.told(budget.late(run.clock() - run.begun))
        refusal = refusal or late or _refusal(run, budget) or _fruitless(config.growth, run)
        run.end = refusal or _grow(config, run, budget)
        if run.end is not None:
            run.enter("tune")


def round_rate(config: GrowConfig, budget: Budget, *, epoch: int, steps: int) -> float:
    """Return the mean learning rate of a round.

    Args:
        config: of the run.
        budget: of the run.
        epoch: of growth with which the round begins, from 0.
        steps: of an epoch.
    """
    if config.growth.schedule == "constant":
        return config.optim.learning_rate
    end = max(epoch + 1, min(epoch + config.growth.round_epochs, budget.growth_epochs))
    return fmean(rate for each in range(epoch, end) for rate in _rates(config, budget, each, steps))


def _grow(config: GrowConfig, run: Run, budget: Budget) -> str | None:
    """Widen what asks for it and may be, in place; return why nothing was, None if something."""
    growth = config.growth
    together = teams(growth.stages, tuple(run.net.widths))
    filled = shared(fills(run.optimizer, run.net), run.net.widths, together)
    levels = thresholds(growth, run.net.widths)
    asking = _due(growth, run.net, filled, levels)
    if not asking and growth.when == "plateau":
        return "every layer is closed or at its greatest width"
    if not asking:
        return "no layer's fill reached its threshold"
    if growth.settled_where == "gain":
        asking = most_gaining(run, asking)
    # Measuring is the leader's alone: several that measure slow each other down.
    measures = run.team.leads or growth.max_latency_ms is None
    made = run.team.told(_plan(config, run, asking, budget) if measures else None)
    if made is None:
        raise TypeError("a leader must tell what it has planned")
    wider = made
    if not wider.changes:
        return "; ".join(f"{refused.group}: {refused.reason}" for refused in wider.refused)

    def reason(change: Change) -> str:
        fill, level = filled[change.group], levels[change.group]
        told = f"fill {fill:.2f}" + (f" reached {level:.2f}" if growth.when != "plateau" else "")
        return told if growth.when == "fill" else f"{_moment(growth, run)}; {told}"

    run.recorder.growth(records(run, wider, filled, levels, reason))
    widen_run(config, run, wider)
    run.round += 1
    run.enter("grow")
    _follow_rate(config, run, budget)
    return None


def _due(
    growth: GrowthConfig, net: Backbone, filled: Mapping[str, float], levels: Mapping[str, float]
) -> tuple[str, ...]:
    """Return the groups that ask to be widened at the end of a round."""
    if growth.when != "plateau":
        return due(filled, DEFAULT_THRESHOLD, levels)
    most, never = _widest(growth, net), closed(growth, net)
    return tuple(
        group for group, width in net.widths.items() if group not in never and width < most[group]
    )


def _follow_rate(config: GrowConfig, run: Run, budget: Budget) -> None:
    """Solve for mu anew where the rate has changed since the last round, in place of the run."""
    if config.growth.schedule == "constant" or config.optim.mu != "auto":
        return
    steps = len(run.batches)
    rate = round_rate(config, budget, epoch=run.growth_epochs, steps=steps)
    mu = round_mu(rate, budget.round_epochs * steps) / config.growth.settled_pull
    for group in run.optimizer.param_groups:
        group["mu"] = mu


def _round(config: GrowConfig, run: Run, budget: Budget) -> str | None:
    """Train for what is left of a round, in place; return why it ended early, if it did."""
    while not _done(config.growth, run):
        if not run.batches.position and (refusal := _refusal(run, budget)) is not None:
            return refusal
        steps = _rates(config, budget, run.growth_epochs, len(run.batches))
        run.train(steps, run.selected)
    return None


def _rates(config: GrowConfig, budget: Budget, epoch: int, steps: int) -> list[float]:
    """Return the learning rate of every step of an epoch of growth, counted from 0."""
    return rates(
        config.growth.schedule,
        config.optim.learning_rate,
        epoch=epoch,
        epochs=budget.growth_epochs,
        steps=steps,
    )


def _done(growth: GrowthConfig, run: Run) -> bool:
    """Return whether a round is at its end, as far as its epochs and its losses say."""
    return run.phase_epoch >= growth.round_epochs or _at_plateau(growth, run)


def _at_plateau(growth: GrowthConfig, run: Run) -> bool:
    """Return whether the validation loss of the round is at a plateau that ends it."""
    return growth.when != "fill" and stalled(_losses(run)[1], growth.patience)


def _moment(growth: GrowthConfig, run: Run) -> str:
    """Return at what a round ended, for people."""
    if _at_plateau(growth, run):
        return "validation loss at a plateau"
    return f"no plateau in {run.phase_epoch} epochs"


def _fruitless(growth: GrowthConfig, run: Run) -> str | None:
    """Return that a round behind a widening brought no better validation loss, None if it did."""
    before, now = _losses(run)
    if growth.when == "fill" or not before or not now or better(min(now), min(before)):
        return None
    return (
        f"plateau: round {run.round} brought the validation loss to {min(now):.4f}, "
        f"it had been {min(before):.4f}"
    )


def _losses(run: Run) -> tuple[list[float], list[float]]:
    """Return the validation losses of the rounds before, and of the one under way."""
    begun = len(run.losses) - run.phase_epoch
    return run.losses[:begun], run.losses[begun:]


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
    make = partial(
        plan,
        net.widths,
        asking,
        ratio=by_group("ratio", growth.ratio, growth, groups),
        minimum=by_group("minimum", growth.minimum, growth, groups),
        multiple=growth.multiple,
        max_width=_widest(growth, net),
        closed=closed(growth, net),
        together=teams(growth.stages, groups),
        cost=net.cost,
        max_params=growth.max_params,
        max_macs=budget.affordable_macs(epochs=run.growth_epochs, spent=run.training_macs),
    )
    return within_latency(
        lambda slow: make(slow=slow), net, growth.max_latency_ms, Stopwatch(run.compute)
    )


def _widest(growth: GrowthConfig, net: Backbone) -> dict[str, int]:
    """Return how wide each group of a network may become."""
    standard = backbones.standard_widths(net.name, net.size, net.stem)
    return widest(growth, standard, start_widths(growth, net.widths))
