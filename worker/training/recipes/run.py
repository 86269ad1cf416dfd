"""A run as it stands: its network, its optimizer and its counters, and one epoch of it."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

from torch import Tensor

from slbi.growth.rule import supports
from slbi.nets.backbone import Backbone
from slbi.optim.optimizer import SLBI
from slbi.structure.path import LayerRecord, Phase, StepRecord, SupportRecord, pack
from worker.training.data.batches import TrainingBatches, evaluation_batches
from worker.training.data.load import Data
from worker.training.device import Compute
from worker.training.epoch import evaluate, train_epoch
from worker.training.recipes.budget import Budget
from worker.training.recorder import ProgressRecord, RunRecorder

Support = Mapping[str, Tensor]
"""Group -> (O,) bool, which of its filters are selected."""


RECENT = 5
"""Epochs whose median tells how long the next ones take: one slow epoch does not move it."""


@dataclass(kw_only=True)
class Run:
    """What changes while a run goes on, and what it reports to."""

    net: Backbone
    optimizer: SLBI
    data: Data
    batches: TrainingBatches
    compute: Compute
    budget: Budget
    layers: tuple[LayerRecord, ...]
    recorder: RunRecorder
    stop: Callable[[], bool]
    clock: Callable[[], float]
    """Seconds, from any origin."""
    step: int = 0
    """Optimizer steps taken."""
    epoch: int = 0
    """Epochs finished."""
    epochs: int = 0
    """Epochs at most, as far as is known now."""
    growth_epochs: int = 0
    """Epochs of growth finished."""
    round: int = 0
    training_macs: int = 0
    """Multiply-accumulates spent on training so far."""
    accuracy: float = 0.0
    """Validation accuracy of the network as it stands, 0 to 1."""
    recent_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    """Seconds that each of the last epochs took."""

    def train(self, phase: Phase, rates: list[float], support: Callable[[], Support]) -> None:
        """Train for one epoch and report it.

        Args:
            phase: what the epoch belongs to.
            rates: learning rate of each step.
            support: asked after the epoch.

        Raises:
            Stopped: the run was asked to stop.
            DivergedError: the loss is no finite number any more.
        """
        begun = self.clock()
        params, macs = self.net.cost()
        learned = train_epoch(
            self.net,
            self.optimizer,
            self.batches,
            rates=rates,
            compute=self.compute,
            stop=self.stop,
            first=self.step,
        )
        self.accuracy = self.validate(self.net)
        self.step += len(rates)
        self.epoch += 1
        self.training_macs += self.budget.training_macs(macs, 1)
        seconds = self.clock() - begun
        self.recorder.step(
            StepRecord(
                step=self.step,
                epoch=self.epoch,
                round=self.round,
                phase=phase,
                loss=learned.loss,
                train_accuracy=learned.accuracy,
                validation_accuracy=self.accuracy,
                learning_rate=rates[-1],
                params=params,
                macs=macs,
                seconds=seconds,
                support=support_records(self.layers, support()),
            )
        )
        self.recent_s.append(seconds)
        self._report(phase)

    def validate(self, net: Backbone) -> float:
        """Return the accuracy of a network on the validation split, 0 to 1."""
        batches = evaluation_batches(self.data.validation, self.data.normalisation)
        return evaluate(net, batches, self.compute).accuracy

    def selected(self) -> Support:
        """Return the support of every group."""
        return supports(self.optimizer, self.net)

    def refusal(self) -> str | None:
        """Return why no further epoch of growth may begin, None if one may."""
        return self.budget.refusal(
            epochs=self.growth_epochs, macs=self.net.cost()[1], spent=self.training_macs
        )

    def _report(self, phase: Phase) -> None:
        """Report progress; an epoch left is taken to last as long as the last ones did."""
        self.recorder.progress(
            ProgressRecord(
                epoch=self.epoch,
                epochs=self.epochs,
                round=self.round,
                phase=phase,
                validation_accuracy=self.accuracy,
                widths=dict(self.net.widths),
                eta_seconds=median(self.recent_s) * (self.epochs - self.epoch),
            )
        )


def support_records(layers: tuple[LayerRecord, ...], support: Support) -> tuple[SupportRecord, ...]:
    """Return the supports of all layers as the path keeps them."""
    return tuple(
        SupportRecord(
            layer=layer.index,
            n_filters=len(support[layer.name]),
            n_active=int(support[layer.name].sum()),
            bits=pack(support[layer.name].cpu()),
        )
        for layer in layers
    )
