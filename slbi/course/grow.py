"""Grow a network of one's own, from any `nn.Module` to a family."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR

from slbi.course.costs import Costs
from slbi.course.course import Course, Score, driven
from slbi.course.family import Grown
from slbi.course.settings import Growth
from slbi.course.targets import first_widths, grow_to_targets, resolved
from slbi.course.training import Batches, Loss
from slbi.growth.narrow import narrow, start_widths
from slbi.growth.plan import Plan, plan
from slbi.nets.graph.find import find
from slbi.nets.widths import Widths
from slbi.structure.path import Phase


def grow(
    net: nn.Module,
    batches: Batches,
    *,
    shape: tuple[int, ...],
    start: float | Widths | None = None,
    settings: Growth | None = None,
    loss: Loss = cross_entropy,
    score: Score | None = None,
    generator: torch.Generator | None = None,
) -> Grown:
    """Grow a network from a narrow copy of itself until no group asks for more filters.

    With targets it grows until there is a network for each of them instead. Layers, code and class
    stay what they are. The network given is left as it is.

    Args:
        net: any network that torch.fx can trace and that takes one tensor; the narrow copy starts
            from its weights. What cannot grow is in `find(net, shape).coupling.fixed`, with the
            reason.
        batches: gives an epoch of training data each time it is called.
        shape: of one input, without the batch, e.g. (3, 32, 32).
        start: widths to start from, or the share of the filters of every group, in (0, 1]. None is
            0.25; with targets it is the widest network within the first one, all groups alike.
        settings: how it is grown; None takes the defaults.
        loss: of what the network says and the labels.
        score: tells the members apart; None leaves that open.
        generator: source of new filters' weights; None is a CPU generator seeded with 0.

    Raises:
        ValueError: the network cannot be traced, none of its groups can grow, a group is unknown,
            a setting out of range, or the loss not finite any more; targets do not rise, the first
            one is below the network to start from, or the compute is too little.

    Source: docs/method.md, "Growth" and "Growth toward targets".
    """
    told = settings or Growth()
    whole = find(net, shape)
    cost = Costs(net, whole, shape)
    targets = resolved(told.targets, cost(whole.widths)[1])
    if start is None:
        start = first_widths(whole.widths, targets[0], cost) if targets else 0.25
    widths = start if isinstance(start, Widths) else start_widths(whole, ratio=start)
    course = Course(
        net=narrow(net, widths, found=whole),
        found=whole.resized(widths),
        cost=cost,
        batches=batches,
        shape=shape,
        settings=told,
        loss=loss,
        score=score,
    )
    source = torch.Generator().manual_seed(0) if generator is None else generator
    if targets:
        ended = grow_to_targets(course, targets, standard=whole.widths, generator=source)
    else:
        ended = _rounds(course, source)
        _tune(course)
    return Grown(members=tuple(course.members), ended=ended, path=course.path, compute=course.spent)


def _rounds(course: Course, source: torch.Generator) -> str:
    """Run the rounds, in place, and return why they ended."""
    settings = course.settings
    while True:
        for _ in range(settings.round_epochs):
            _epoch(course, "grow")
        course.add(course.net, course.found, "grown", f"round {course.round}")
        cut = course.cut()
        course.add(cut.net, cut.found, "pruned", f"round {course.round}, support")
        if course.round == settings.rounds - 1:
            return f"{settings.rounds} rounds are done"
        wider, refusal = _planned(course)
        if wider is None:
            return refusal
        course.widen(
            wider.widths,
            wider.changes,
            reason=lambda fill: f"fill {fill:.2f} reached {settings.threshold:.2f}",
            generator=source,
        )
        course.round += 1


def _tune(course: Course) -> None:
    """Tune the grown network, then what its support left of it, in place."""
    if not course.settings.tune_epochs:
        return
    cut = course.cut()
    kept = {
        group: torch.zeros(width, dtype=torch.bool).index_fill(0, cut.kept[group], 1)
        for group, width in course.found.widths.items()
    }
    _anneal(course, "tune")
    course.add(course.net, course.found, "tuned", "tuned")
    if cut.found.widths == course.found.widths:
        return
    course.net, course.found = cut.net, cut.found
    course.optimizer = driven(course.net.parameters(), course.settings)
    _anneal(course, "prune", kept)
    course.add(course.net, course.found, "tuned", "support, tuned")


def _anneal(course: Course, phase: Phase, support: Mapping[str, Tensor] | None = None) -> None:
    """Train while the learning rate falls to zero, in place."""
    settings = course.settings
    for group in course.optimizer.param_groups:
        group["lr"] = settings.lr
    fall = CosineAnnealingLR(course.optimizer, settings.tune_epochs * len(course.sizes))
    for _ in range(settings.tune_epochs):
        _epoch(course, phase, schedule=fall, support=support)


def _epoch(
    course: Course,
    phase: Phase,
    *,
    schedule: CosineAnnealingLR | None = None,
    support: Mapping[str, Tensor] | None = None,
) -> None:
    """Train an epoch, in place."""
    course.epochs += 1
    course.train(phase, course.batches(), schedule=schedule, support=support)


def _planned(course: Course) -> tuple[Plan | None, str]:
    """Return what is widened, or None and why nothing is."""
    settings = course.settings
    asking = course.asking()
    if not asking:
        return None, f"no group's fill reached {settings.threshold:.2f}"
    wider = plan(
        course.found.widths,
        asking,
        ratio=settings.ratio,
        minimum=settings.minimum,
        multiple=settings.multiple,
        closed=course.closed,
        max_width=settings.max_width,
        cost=course.cost,
        max_params=settings.max_params,
        max_macs=settings.max_macs,
    )
    if not wider.changes:
        return None, "; ".join(f"{each.group}: {each.reason}" for each in wider.refused)
    return wider, ""
