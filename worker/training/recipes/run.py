"""A run as it stands: its network, its optimizer and its counters, and one epoch of it."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from torch import Generator, Tensor

from slbi.growth.rule import group_support
from slbi.nets.backbone import Backbone
from slbi.optim.optimizer import SLBI
from slbi.pruning.hold import Hold
from slbi.structure.on_support import on_support
from slbi.structure.order import EntryOrder
from slbi.structure.path import LayerRecord, Phase, StepRecord, SupportRecord, pack
from worker.training.data.batches import Batches, evaluation_batches
from worker.training.data.load import Data
from worker.training.device import Compute
from worker.training.epoch import Outcome, Stopped, Tally, evaluate, train_epoch
from worker.training.recipes.budget import BACKWARD
from worker.training.recorder import ModelRecord, ProgressRecord, RunRecorder
from worker.training.team import ALONE, Team

Support = Mapping[str, Tensor]
"""Layer of the path -> bool, which of its filters, (O,), or of its entries are selected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """A network without its unselected filters."""

    net: Backbone
    kept: Support
    """Which filters of the network before are left."""

    @property
    def whole(self) -> bool:
        """Whether every filter is left."""
        return all(bool(kept.all()) for kept in self.kept.values())


RECENT = 5
"""Epochs whose median tells how long the next ones take: one slow epoch does not move it."""


@dataclass(kw_only=True)
class Run:
    """What changes while a run goes on, and what it reports to."""

    net: Backbone
    optimizer: SLBI
    data: Data
    batches: Batches
    compute: Compute
    layers: tuple[LayerRecord, ...]
    recorder: RunRecorder
    stop: Callable[[], bool]
    clock: Callable[[], float]
    """Seconds, from any origin."""
    begun: float
    """When the run began, by its clock; earlier attempts lie before it."""
    keep: Callable[["Run"], None]
    """Keeps a checkpoint of the run."""
    keep_every: int
    """Steps between two checkpoints within an epoch."""
    draws: Mapping[str, Generator]
    """By purpose, the generators that are drawn from while the run goes on."""
    tally: Tally
    """Of the epoch under way."""
    phase: Phase
    epochs: int
    """Epochs at most, as far as is known now."""
    kept_at: tuple[int, int, str]
    """Steps, round and phase of the last checkpoint."""
    team: Team = ALONE
    """The processes that do this run together; each has a `Run`, and all are alike."""
    members: list[ModelRecord] = field(default_factory=list)
    """The family so far."""
    order: EntryOrder = field(default_factory=EntryOrder)
    """Epoch, from 0, at which each filter or entry of each layer was first in the support."""
    masks: dict[str, Tensor] = field(default_factory=dict)
    """Parameter -> where it may differ from zero; one that is not named is free."""
    memory: dict[str, Tensor] = field(default_factory=dict)
    """Whatever else a recipe must remember, by names of its own."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Likewise, what JSON can say."""
    transferred: bool = False
    """Whether the run has gone over to another data set than it began with."""
    watches_support: bool = False
    """Whether W on its support is validated after every epoch as well, while there is a twin."""
    phase_epoch: int = 0
    """Epochs finished of the phase; of a round, where the phase is growth."""
    end: str | None = None
    """Why growth ended; None until then."""
    cut: Cut | None = None
    """The last network of growth, sliced to its support; None until growth has ended."""
    expected: int | None = None
    """Multiply-accumulates of all training, where they say how long the run is; None: epochs do."""
    step: int = 0
    """Optimizer steps taken, those of the stretch under way left out."""
    begun_at: int = 0
    """Batches of the epoch that had been drawn when the stretch under way began."""
    epoch: int = 0
    """Epochs finished; stretches, where they are shorter."""
    growth_epochs: int = 0
    """Epochs of growth finished."""
    round: int = 0
    training_macs: int = 0
    """Multiply-accumulates spent on training so far."""
    accuracy: float = 0.0
    """Validation accuracy of the network as it stands, 0 to 1."""
    losses: list[float] = field(default_factory=list)
    """Validation loss after every epoch of growth so far, nats."""
    recent_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    """Seconds that each of the last epochs took."""
    spent_s: float = 0.0
    """Seconds that the epoch under way took in earlier attempts."""

    @property
    def steps(self) -> int:
        """Return the optimizer steps taken, those of the stretch under way included."""
        return self.step + self.batches.position - self.begun_at

    def train(self, rates: list[float], support: Callable[[], Support]) -> None:
        """Train for one stretch, or what is left of it, report it and keep a checkpoint.

        A stretch is an epoch, or a part of one; `batches` go on where it ends.

        Args:
            rates: learning rate of each step of the stretch, no more than its epoch has left.
            support: asked after the stretch.

        Raises:
            Stopped: the run was asked to stop; a checkpoint was kept.
            DivergedError: the loss is no finite number any more.
        """
        begun = self.clock() - self.spent_s
        params, macs = self.net.cost()
        learned = train_epoch(
            self.net,
            self.optimizer,
            self.batches,
            rates=rates,
            compute=self.compute,
            tally=self.tally,
            between=lambda: self._between(begun),
            after=Hold(self.net, self.masks).apply,
            first=self.step,
            begun_at=self.begun_at,
            team=self.team,
        )
        measured = self._measured(self.net)
        self.accuracy = measured.accuracy
        selected = support()
        if self._twinned:
            self.order.update(self.epoch, selected)
        self.step += len(rates)
        self.begun_at = self.batches.position
        self.epoch += 1
        self.phase_epoch += 1
        if self.phase == "grow":
            self.growth_epochs += 1
            self.losses.append(measured.loss)
        self.tally = Tally(self.compute.device)
        self.spent_s = 0.0
        self.training_macs += BACKWARD * macs * self.batches.batch * len(rates)
        on_support = self.accuracy_on_support()
        seconds = self.clock() - begun
        self.recorder.step(
            StepRecord(
                step=self.step,
                epoch=self.epoch,
                round=self.round,
                phase=self.phase,
                loss=learned.loss,
                train_accuracy=learned.accuracy,
                validation_accuracy=self.accuracy,
                learning_rate=rates[-1],
                params=params,
                macs=macs,
                seconds=seconds,
                support=support_records(self.layers, selected),
                support_accuracy=on_support,
            )
        )
        self.recent_s.append(seconds)
        self._report()
        self._keep()

    def validate(self, net: Backbone) -> float:
        """Return the accuracy of a network on the validation split, 0 to 1."""
        return self._measured(net).accuracy

    def accuracy_on_support(self) -> float | None:
        """Return the validation accuracy of W on its support, 0 to 1; None if nobody watches it."""
        if not (self.watches_support and self._twinned):
            return None
        with on_support(self.optimizer):
            return self.validate(self.net)

    def _measured(self, net: Backbone) -> Outcome:
        """Return loss and accuracy of a network on the validation split."""
        batches = evaluation_batches(
            self.data.validation, self.data.normalisation, share=self.team.share
        )
        return evaluate(net, batches, self.compute, self.team)

    @property
    def _twinned(self) -> bool:
        """Return whether any weight has a twin."""
        return any(group["structure"] is not None for group in self.optimizer.param_groups)

    def selected(self) -> Support:
        """Return the support of every layer."""
        return {
            layer.name: group_support(self.optimizer, self.net, layer.name)
            if layer.structure == "filter"
            else self.optimizer.support(self.net.get_parameter(layer.name))
            for layer in self.layers
        }

    def entries(self, kept: Support | None = None) -> dict[str, list[int]]:
        """Return group -> for every filter the epoch at which it was first selected, -1 for never.

        Args:
            kept: the filters wanted, of a network without the others; None is all.
        """
        told = {}
        seen = self.order.state_dict()
        for layer in self.layers:
            if layer.structure == "filter" and layer.name in seen:
                entry = seen[layer.name]
                told[layer.name] = (entry if kept is None else entry[kept[layer.name]]).tolist()
        return told

    def enter(self, phase: Phase) -> None:
        """Begin another phase, in place."""
        self.phase, self.phase_epoch = phase, 0

    def _between(self, begun: float) -> None:
        """Keep a checkpoint between two steps if one is due or wanted; stop if asked to."""
        stopping = self.team.agree(wish=self.stop())
        if stopping or self.steps - self.kept_at[0] >= self.keep_every:
            self.tally.gather(self.team)
            self.spent_s = self.clock() - begun
            self._keep()
        if stopping:
            raise Stopped

    def _keep(self) -> None:
        here = (self.steps, self.round, self.phase)
        if here != self.kept_at:
            self.keep(self)
            self.kept_at = here

    def _report(self) -> None:
        """Report progress; what is left is taken to last as long as what was.

        Where the compute says how long the run is, the epochs to come are as many as it would pay
        for at the mean cost of those behind.
        """
        eta = median(self.recent_s) * (self.epochs - self.epoch)
        if self.expected is not None:
            whole = max(1.0, self.expected / max(1, self.training_macs))
            self.epochs = max(self.epoch, round(self.epoch * whole))
            eta = (self.clock() - self.begun) * (whole - 1)
        self.recorder.progress(
            ProgressRecord(
                epoch=self.epoch,
                epochs=self.epochs,
                round=self.round,
                phase=self.phase,
                validation_accuracy=self.accuracy,
                widths=dict(self.net.widths),
                eta_seconds=eta,
            )
        )


def support_records(layers: tuple[LayerRecord, ...], support: Support) -> tuple[SupportRecord, ...]:
    """Return the supports of all layers as the path keeps them."""
    return tuple(
        SupportRecord(
            layer=layer.index,
            n_filters=support[layer.name].numel(),
            n_active=int(support[layer.name].sum()),
            bits=pack(support[layer.name].cpu()) if layer.structure == "filter" else b"",
        )
        for layer in layers
    )
