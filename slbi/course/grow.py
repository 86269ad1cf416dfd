"""Grow a network of one's own, from any `nn.Module` to a family."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR

from slbi.course.family import Grown, Kind, Member
from slbi.course.settings import Growth
from slbi.course.training import Batches, Loss, train_epoch
from slbi.growth.narrow import narrow, start_widths
from slbi.growth.plan import Plan, plan
from slbi.growth.rule import due, fills, supports
from slbi.growth.twins import round_mu, twinned
from slbi.growth.widen import widen
from slbi.nets.count import count
from slbi.nets.graph.find import Found, find
from slbi.nets.graph.resize import rebuilt
from slbi.nets.widths import Widths
from slbi.optim.optimizer import SLBI
from slbi.pruning.keep import norms_of
from slbi.pruning.recalibrate import recalibrate
from slbi.pruning.refill import refilled
from slbi.pruning.slice import Sliced, slice_filters
from slbi.structure.path import (
    GrowthRecord,
    LayerRecord,
    PathList,
    Phase,
    StepRecord,
    SupportRecord,
    pack,
)

MEASURED: Final = 64
"""Batches on which norms are measured anew at most: they settle a mean to about 1 percent."""

Score = Callable[[nn.Module], float]
"""Tells how good a network in evaluation is, the higher the better, on data it does not learn."""


def grow(
    net: nn.Module,
    batches: Batches,
    *,
    shape: tuple[int, ...],
    start: float | Widths = 0.25,
    settings: Growth | None = None,
    loss: Loss = cross_entropy,
    score: Score | None = None,
    generator: torch.Generator | None = None,
) -> Grown:
    """Grow a network from a narrow copy of itself until no group asks for more filters.

    Layers, code and class stay what they are. The network given is left as it is.

    Args:
        net: any network that torch.fx can trace and that takes one tensor; the narrow copy starts
            from its weights. What cannot grow is in `find(net, shape).coupling.fixed`, with the
            reason.
        batches: gives an epoch of training data each time it is called.
        shape: of one input, without the batch, e.g. (3, 32, 32).
        start: widths to start from, or the share of the filters of every group, in (0, 1].
        settings: how it is grown; None takes the defaults.
        loss: of what the network says and the labels.
        score: tells the members apart; None leaves that open.
        generator: source of new filters' weights; None is a CPU generator seeded with 0.

    Raises:
        ValueError: the network cannot be traced, none of its groups can grow, a group is unknown,
            a setting out of range, or the loss not finite any more.

    Source: docs/method.md, "Growth".
    """
    whole = find(net, shape)
    widths = start if isinstance(start, Widths) else start_widths(whole, ratio=start)
    course = _Course(
        net=narrow(net, widths, found=whole),
        found=whole.resized(widths),
        batches=batches,
        shape=shape,
        settings=settings or Growth(),
        loss=loss,
        score=score,
    )
    source = torch.Generator().manual_seed(0) if generator is None else generator
    ended = course.rounds(source)
    course.tune()
    return Grown(members=tuple(course.members), ended=ended, path=course.path)


@dataclass(kw_only=True)
class _Course:
    """A growth on its way."""

    net: nn.Module
    found: Found
    batches: Batches
    shape: tuple[int, ...]
    settings: Growth
    loss: Loss
    score: Score | None
    members: list[Member] = field(default_factory=list)
    path: PathList = field(default_factory=PathList)
    round: int = 0
    epochs: int = 0
    steps: int = 0
    closed: Mapping[str, str] = field(init=False)
    """Group -> why it keeps its filters."""
    optimizer: SLBI = field(init=False)
    layers: dict[str, LayerRecord] = field(default_factory=dict)
    costs: dict[Widths, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = self.settings
        self.closed = _closed(self.found, settings.exclude)
        each = sum(1 for _ in self.batches())
        mu = settings.mu or round_mu(settings.lr, max(1, settings.round_epochs * each))
        self.optimizer = SLBI(
            twinned(self.net, self.found),
            lr=settings.lr,
            kappa=settings.kappa,
            mu=mu,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        for group in self.found.coupling.groups:
            self.layers[group.name] = LayerRecord(
                index=len(self.layers),
                name=group.name,
                kind=group.kind,
                growable=group.name not in self.closed,
            )
        if not any(layer.growable for layer in self.layers.values()):
            reasons = "; ".join(f"{group}: {reason}" for group, reason in self.closed.items())
            raise ValueError(f"a group of the network must be free to grow, got none: {reasons}")
        self.path.layers(tuple(self.layers.values()))

    def rounds(self, source: torch.Generator) -> str:
        """Run the rounds, in place, and return why they ended."""
        while True:
            for _ in range(self.settings.round_epochs):
                self.train("grow")
            self.add(self.net, self.found, "grown", f"round {self.round}")
            cut = self.cut()
            self.add(cut.net, cut.found, "pruned", f"round {self.round}, support")
            if self.round == self.settings.rounds - 1:
                return f"{self.settings.rounds} rounds are done"
            wider, refusal = self.planned()
            if wider is None:
                return refusal
            self.net, self.optimizer = widen(
                self.net, self.optimizer, wider.widths, found=self.found, generator=source
            )
            self.found = self.found.resized(wider.widths)
            self.round += 1

    def tune(self) -> None:
        """Tune the grown network, then what its support left of it, in place."""
        if not self.settings.tune_epochs:
            return
        cut = self.cut()
        kept = {
            group: torch.zeros(width, dtype=torch.bool).index_fill(0, cut.kept[group], 1)
            for group, width in self.found.widths.items()
        }
        self.anneal("tune")
        self.add(self.net, self.found, "tuned", "tuned")
        if cut.found.widths == self.found.widths:
            return
        self.net, self.found = cut.net, cut.found
        self.optimizer = SLBI(
            self.net.parameters(),
            lr=self.settings.lr,
            kappa=self.settings.kappa,
            momentum=self.settings.momentum,
            weight_decay=self.settings.weight_decay,
        )
        self.anneal("prune", kept)
        self.add(self.net, self.found, "tuned", "support, tuned")

    def anneal(self, phase: Phase, support: Mapping[str, Tensor] | None = None) -> None:
        """Train while the learning rate falls to zero, in place."""
        each = sum(1 for _ in self.batches())
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr
        fall = CosineAnnealingLR(self.optimizer, self.settings.tune_epochs * each)
        for _ in range(self.settings.tune_epochs):
            self.train(phase, schedule=fall, support=support)

    def train(
        self,
        phase: Phase,
        *,
        schedule: CosineAnnealingLR | None = None,
        support: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Train an epoch and add a point to the path, in place."""
        began = time.perf_counter()
        told = train_epoch(self.net, self.optimizer, self.batches, self.loss, schedule=schedule)
        self.epochs += 1
        self.steps += told.steps
        params, macs = self.cost(self.found.widths)
        selected = self.selected() if support is None else support
        self.path.step(
            StepRecord(
                step=self.steps,
                epoch=self.epochs,
                round=self.round,
                phase=phase,
                loss=told.loss,
                train_accuracy=told.accuracy,
                validation_accuracy=self.judged(self.net),
                learning_rate=float(self.optimizer.param_groups[0]["lr"]),
                params=params,
                macs=macs,
                seconds=time.perf_counter() - began,
                support=tuple(
                    SupportRecord(
                        layer=self.layers[group].index,
                        n_filters=len(bits),
                        n_active=int(bits.sum()),
                        bits=pack(bits.cpu()),
                    )
                    for group, bits in selected.items()
                ),
            )
        )

    def selected(self) -> dict[str, Tensor]:
        """Return which filters of every group are in the support, (O,) bool."""
        held = supports(self.optimizer, self.net, found=self.found)
        return {
            group: held.get(group, torch.ones(width, dtype=torch.bool))
            for group, width in self.found.widths.items()
        }

    def cut(self) -> Sliced[nn.Module, None]:
        """Return what the support leaves of the network, its norms measured anew."""
        support = {
            group: selected.cpu()
            for group, selected in self.selected().items()
            if group not in self.closed
        }
        norms = {
            group.name: norms_of(self.net, group, self.found.widths[group.name])
            for group in self.found.coupling.groups
        }
        multiple = self.settings.multiple
        keep = refilled(self.net, support, norms, found=self.found, multiple=multiple)
        sliced = slice_filters(self.net, None, keep, found=self.found, shape=self.shape)
        recalibrate(sliced.net, (images for images, _ in islice(self.batches(), MEASURED)))
        return sliced

    def planned(self) -> tuple[Plan | None, str]:
        """Return what is widened and add it to the path, or None and why nothing is."""
        settings = self.settings
        filled = fills(self.optimizer, self.net, found=self.found)
        asking = [group for group in due(filled, settings.threshold) if group not in self.closed]
        if not asking:
            return None, f"no group's fill reached {settings.threshold:.2f}"
        wider = plan(
            self.found.widths,
            asking,
            ratio=settings.ratio,
            minimum=settings.minimum,
            multiple=settings.multiple,
            closed=self.closed,
            max_width=settings.max_width,
            cost=self.cost,
            max_params=settings.max_params,
            max_macs=settings.max_macs,
        )
        if not wider.changes:
            return None, "; ".join(f"{each.group}: {each.reason}" for each in wider.refused)
        self.path.growth(
            [
                GrowthRecord(
                    step=self.steps,
                    round=self.round,
                    layer=self.layers[change.group].index,
                    before=change.before,
                    after=change.after,
                    fill=filled[change.group],
                    threshold=settings.threshold,
                    reason=f"fill {filled[change.group]:.2f} reached {settings.threshold:.2f}",
                )
                for change in wider.changes
            ]
        )
        return wider, ""

    def add(self, net: nn.Module, found: Found, kind: Kind, origin: str) -> None:
        """Add a copy of a network to the family, in place."""
        params, macs = self.cost(found.widths)
        kept = copy.deepcopy(net).eval()
        kept.zero_grad()
        self.members.append(
            Member(
                net=kept,
                found=found,
                kind=kind,
                origin=origin,
                params=params,
                macs=macs,
                score=self.judged(kept),
            )
        )

    def judged(self, net: nn.Module) -> float:
        """Return the score of a network, in evaluation; its training flags stay."""
        if self.score is None:
            return math.nan
        training = net.training
        try:
            with torch.no_grad():
                return self.score(net.eval())
        finally:
            net.train(training)

    def cost(self, widths: Widths) -> tuple[int, int]:
        """Return parameters and multiply-accumulates at some widths."""
        if widths not in self.costs:
            other, _ = rebuilt(self.net, self.found, widths)
            self.costs[widths] = count(other, self.shape)
        return self.costs[widths]


def _closed(found: Found, exclude: tuple[str, ...]) -> dict[str, str]:
    """Return group -> why it neither grows nor loses filters.

    Raises:
        ValueError: something to exclude is no group.
    """
    closed = {
        group.name: group.blended for group in found.coupling.groups if group.blended is not None
    }
    for pattern in exclude:
        meant = [group for group in found.widths if fnmatchcase(group, pattern)]
        if not meant:
            known = ", ".join(found.widths)
            raise ValueError(f"exclude must name groups of the network, {known}; got {pattern!r}")
        closed |= dict.fromkeys(meant, "it is excluded")
    return closed
