"""A growth on its way: what every course does to its network, and what it writes down."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import ParamsT

from slbi.course.costs import Costs
from slbi.course.family import Kind, Member
from slbi.course.settings import Growth
from slbi.course.training import BACKWARD, Batch, Batches, Learned, Loss, learn
from slbi.growth.choice import BEST, gains
from slbi.growth.plan import Change
from slbi.growth.rule import due, fills, supports
from slbi.growth.seed import Seed
from slbi.growth.twins import round_mu, twinned
from slbi.growth.widen import widen
from slbi.nets.graph.find import Found
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


@dataclass(kw_only=True)
class Course:
    """A growth on its way."""

    net: nn.Module
    found: Found
    cost: Costs
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
    spent: int = 0
    """Multiply-accumulates of training so far, and of measuring norms anew."""
    sizes: tuple[int, ...] = field(init=False)
    """Inputs of every batch of an epoch."""
    closed: Mapping[str, str] = field(init=False)
    """Group -> why it keeps its filters."""
    optimizer: SLBI = field(init=False)
    layers: dict[str, LayerRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings, pull = self.settings, self.settings.settled_pull
        self.closed = _closed(self.found, settings.exclude)
        self.sizes = tuple(len(inputs) for inputs, _ in self.batches())
        steps = max(1, settings.round_epochs * len(self.sizes))
        coupled = twinned(self.net, self.found)
        for entry in coupled:
            if "threshold" in entry:
                entry["threshold"] *= pull
        mu = settings.mu or round_mu(settings.lr, steps)
        self.optimizer = driven(coupled, settings, mu=mu / pull)
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

    def train(
        self,
        phase: Phase,
        batches: Iterable[Batch],
        *,
        schedule: LRScheduler | None = None,
        support: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Train on some batches and add a point to the path, in place.

        Args:
            phase: what they belong to.
            batches: a step each, one at least.
            schedule: told of every step.
            support: group -> (O,) bool, what the path keeps; None is that of the network.
        """
        began = time.perf_counter()
        told = learn(self.net, self.optimizer, batches, self.loss, schedule=schedule)
        self.steps += told.steps
        self.spent += BACKWARD * self.macs * told.inputs
        self._point(phase, told, self.selected() if support is None else support, began)

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates of one input as the network is."""
        return self.cost(self.found.widths)[1]

    def selected(self) -> dict[str, Tensor]:
        """Return which filters of every group are in the support, (O,) bool."""
        held = supports(self.optimizer, self.net, found=self.found)
        return {
            group: held.get(group, torch.ones(width, dtype=torch.bool))
            for group, width in self.found.widths.items()
        }

    def asking(self) -> tuple[str, ...]:
        """Return the groups that are full and free to grow, those first that take first."""
        filled = fills(self.optimizer, self.net, found=self.found)
        full = due(filled, self.settings.threshold)
        asking = tuple(group for group in full if group not in self.closed)
        if self.settings.settled_where != "gain":
            return asking
        promised = gains(self.optimizer, self.net, cost=self.cost, found=self.found)
        return tuple(sorted(asking, key=lambda group: -promised[group])[:BEST])

    def widen(
        self,
        widths: Widths,
        changes: Iterable[Change],
        *,
        reason: Callable[[float], str],
        seed: Seed | None = None,
        generator: torch.Generator,
    ) -> None:
        """Widen the network and tell the path, in place.

        Args:
            widths: to come.
            changes: what they change.
            reason: why, for people, given the fill of a group.
            seed: what new filters start from; None is `widen`'s.
            generator: source of the seed's random values.
        """
        filled = {group: float(told.double().mean()) for group, told in self.selected().items()}
        self.path.growth(
            [
                GrowthRecord(
                    step=self.steps,
                    round=self.round,
                    layer=self.layers[change.group].index,
                    before=change.before,
                    after=change.after,
                    fill=filled[change.group],
                    threshold=self.settings.threshold,
                    reason=reason(filled[change.group]),
                )
                for change in changes
            ]
        )
        self.net, self.optimizer = widen(
            self.net, self.optimizer, widths, found=self.found, seed=seed, generator=generator
        )
        self.found = self.found.resized(widths)

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
        self.measure(sliced.net, sliced.found, MEASURED)
        return sliced

    def measure(self, net: nn.Module, found: Found, batches: int) -> None:
        """Measure the norms of a network anew on the first batches of an epoch, in place."""
        recalibrate(net, (images for images, _ in islice(self.batches(), batches)))
        self.spent += self.cost(found.widths)[1] * sum(self.sizes[:batches])

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
                score=self._judged(kept),
            )
        )

    def _judged(self, net: nn.Module) -> float:
        """Return the score of a network, in evaluation; its training flags stay."""
        if self.score is None:
            return math.nan
        training = net.training
        try:
            with torch.no_grad():
                return self.score(net.eval())
        finally:
            net.train(training)

    def _point(
        self, phase: Phase, told: Learned, support: Mapping[str, Tensor], began: float
    ) -> None:
        """Add a point to the path, in place."""
        params, macs = self.cost(self.found.widths)
        accuracy = self._judged(self.net)
        self.path.step(
            StepRecord(
                step=self.steps,
                epoch=self.epochs,
                round=self.round,
                phase=phase,
                loss=told.loss,
                train_accuracy=told.accuracy,
                validation_accuracy=accuracy,
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
                    for group, bits in support.items()
                ),
            )
        )


def driven(params: ParamsT, settings: Growth, *, mu: float = 100.0) -> SLBI:
    """Return an optimizer of some settings; parameters, where no groups are given, have no twin."""
    return SLBI(
        params,
        lr=settings.lr,
        kappa=settings.kappa,
        mu=mu,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )


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
