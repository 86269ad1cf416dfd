"""The structure path as plain frozen records, and the protocol through which they leave the method.

A filter keeps its index within its layer for ever, growth included, so a bit of a packed support
means the same filter from the first step of a run to the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

Phase = Literal[
    "grow",
    "anneal",
    "tune",
    "prune",
    "train",
    "finetune",
    "retrain",
    "ticket",
    "random",
    "dense",
    "visualise",
    "export",
]
"""What a step of the path belonged to: a round of growth, the annealing for a target,
tuning, or tuning of a pruned network; training with twins at fixed widths, and what was trained
behind it: the selected weights, the initial ones under the mask; a ticket and its rivals; pictures
and exports, which are no step of any path."""

Structure = Literal["filter", "element"]
"""What enters the support as one: a whole filter, or a single weight."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRecord:
    """One row of filters whose support the path follows: a group of coupled tensors."""

    index: int
    """Position in the path, from 0, fixed for the run."""
    name: str
    """Name of the group in `Widths`."""
    kind: Literal["conv", "linear"]
    """What makes the filters: convolutions or a linear layer."""
    growable: bool
    """Whether the run may widen it."""
    structure: Structure = "filter"


@dataclass(frozen=True, kw_only=True, slots=True)
class SupportRecord:
    """Which filters of one layer were in the support at one step.

    Of an `element` layer the numbers count single weights, and no bits are kept: a path of millions
    of bits a point would outgrow what it describes.
    """

    layer: int
    """`LayerRecord.index`."""
    n_filters: int
    """Filters, or elements, the layer had."""
    n_active: int
    """Of these, those in the support."""
    bits: bytes
    """One bit a filter, filter 0 in the highest bit of byte 0; empty for an `element` layer.
    Source: `pack`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """One point of the path: what the network was and how well it did."""

    step: int
    """Optimizer steps taken since the run began."""
    epoch: int
    """Epochs finished since the run began, over all phases."""
    round: int
    """Round of growth, from 0; in later phases the last round."""
    phase: Phase
    loss: float
    """Mean training loss of the epoch, nats."""
    train_accuracy: float
    """Share of training images classified rightly during the epoch, 0 to 1."""
    validation_accuracy: float
    """Share of the validation split classified rightly after the epoch, 0 to 1."""
    learning_rate: float
    """Learning rate at the end of the epoch."""
    params: int
    """Parameters of the network."""
    macs: int
    """Multiply-accumulates of one image, forward."""
    seconds: float
    """Wall-clock seconds the epoch took, validation included."""
    support: tuple[SupportRecord, ...]
    """One for each layer of the path."""
    support_accuracy: float | None = None
    """Validation accuracy, 0 to 1, of the weights that lie in the support alone; None if it was not
    measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowthRecord:
    """One layer widened once."""

    step: int
    round: int
    """The round whose end widened it."""
    layer: int
    """`LayerRecord.index`."""
    before: int
    """Filters before."""
    after: int
    """Filters after."""
    fill: float
    """Share of its filters in the support, 0 to 1."""
    threshold: float
    """Fill at which it was due."""
    reason: str
    """A sentence for people, e.g. "fill 0.88 reached 0.80"."""


class Recorder(Protocol):
    """Takes the structure path of one run, in order, each record once."""

    def layers(self, layers: Sequence[LayerRecord]) -> None:
        """Take the layers of the path, before any step."""

    def step(self, step: StepRecord) -> None:
        """Take one point of the path."""

    def growth(self, growth: Sequence[GrowthRecord]) -> None:
        """Take the layers that one round widened, together."""


@dataclass(kw_only=True)
class PathList:
    """A `Recorder` that keeps the records in lists, for tests and the shell."""

    layer_records: list[LayerRecord] = field(default_factory=list)
    step_records: list[StepRecord] = field(default_factory=list)
    growth_records: list[GrowthRecord] = field(default_factory=list)

    def layers(self, layers: Sequence[LayerRecord]) -> None:
        """Keep the layers."""
        self.layer_records.extend(layers)

    def step(self, step: StepRecord) -> None:
        """Keep one point."""
        self.step_records.append(step)

    def growth(self, growth: Sequence[GrowthRecord]) -> None:
        """Keep one round's growth."""
        self.growth_records.extend(growth)


def pack(support: Tensor) -> bytes:
    """Return a support as bytes, one bit a filter, filter 0 in the highest bit of byte 0.

    Args:
        support: (O,) bool.

    Raises:
        ValueError: `support` is not a 1-D bool tensor.
    """
    if support.ndim != 1 or support.dtype != torch.bool:
        came = f"{support.dtype} of shape {tuple(support.shape)}"
        raise ValueError(f"support must be a 1-D bool tensor, got {came}")
    digits = "".join("1" if bit else "0" for bit in support.tolist())
    length = (len(digits) + 7) // 8
    return int(digits.ljust(length * 8, "0") or "0", 2).to_bytes(length, "big")


def unpack(bits: bytes, n_filters: int) -> Tensor:
    """Return the (n_filters,) bool support that `pack` made `bits` from.

    Raises:
        ValueError: `bits` does not hold `n_filters` bits.
    """
    if len(bits) != (n_filters + 7) // 8:
        raise ValueError(
            f"bits must be {(n_filters + 7) // 8} bytes for {n_filters} filters, got {len(bits)}"
        )
    digits = bin(int.from_bytes(b"\x01" + bits, "big"))[3:]
    return torch.tensor([digit == "1" for digit in digits[:n_filters]], dtype=torch.bool)
