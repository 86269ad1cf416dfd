"""One pass over a set of images: to learn, or to measure."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 -- torch's own name for it
from torch import Tensor, nn

from worker.training.data.batches import Batch, Batches
from worker.training.device import Compute, convolutions

_LOOK = 16  # steps between two looks at the loss: a look makes a GPU wait for its last step


class Stopped(Exception):  # noqa: N818 -- being stopped is no error
    """The run was asked to stop, and did so between two steps."""


class DivergedError(ArithmeticError):
    """The loss is no finite number any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a pass over a set of images gave."""

    loss: float
    """Mean over the images, nats."""
    accuracy: float
    """Share of the images classified rightly, 0 to 1."""


class Tally:
    """Sums of a pass, kept on the device so that a GPU need not wait for them."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        """Over the images so far, nats."""
        self.right = torch.zeros((), dtype=torch.int64, device=device)
        """Images classified rightly so far."""
        self.count = 0
        """Images so far."""

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: its summed loss, and what it got right."""
        self.loss += loss
        self.right += (logits.argmax(dim=1) == labels).sum()
        self.count += len(labels)

    def check(self, step: int, rate: float) -> None:
        """Refuse a sum that is no finite number; once it is not, it never is again."""
        if not math.isfinite(self.loss.item()):
            raise DivergedError(
                f"training diverged by step {step}: the loss must be a finite number; "
                f"lower learning_rate, now {rate:g}"
            )

    def outcome(self) -> Outcome:
        """Return the means."""
        return Outcome(
            loss=self.loss.item() / self.count, accuracy=int(self.right.item()) / self.count
        )


def train_epoch(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    *,
    rates: Sequence[float],
    compute: Compute,
    tally: Tally,
    between: Callable[[], None] = lambda: None,
    after: Callable[[], None] = lambda: None,
    first: int = 0,
) -> Outcome:
    """Train a network for one epoch, or what is left of it, in place.

    Args:
        net: on the device of `compute`.
        optimizer: holds the parameters of `net`.
        batches: what is left of an epoch of them is drawn.
        rates: learning rate of each step of the epoch.
        compute: device and precision.
        tally: what the steps before gave; this one's are added.
        between: called before every step, when everything is as the step before left it.
        after: called after every step of the optimizer, to put right what must not move.
        first: number of the epoch's first step, for messages.

    Returns:
        Means over the epoch, of the network as it was at each step.

    Raises:
        DivergedError: the loss became infinite or NaN.
    """
    net.train()
    begun = batches.position
    drawn = iter(batches)
    with convolutions(net, compute):
        for index, rate in enumerate(rates[begun:], begun):
            between()
            batch = next(drawn)
            for group in optimizer.param_groups:
                group["lr"] = rate
            images, labels = compute.arrange(batch[0]), batch[1]
            optimizer.zero_grad()
            with compute.autocast():
                logits = net(images)
            loss = F.cross_entropy(logits.float(), labels)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            after()
            tally.add(loss.detach() * len(labels), logits.detach(), labels)
            if index % _LOOK == _LOOK - 1 or index == len(rates) - 1:
                tally.check(first + index + 1, rate)
    return tally.outcome()


@torch.no_grad()
def evaluate(net: nn.Module, batches: Iterable[Batch], compute: Compute) -> Outcome:
    """Measure a network over a set of images; it keeps its mode.

    Args:
        net: on the device of `compute`.
        batches: one image or more.
        compute: device and precision.
    """
    training = net.training
    net.eval()
    tally = Tally(compute.device)
    with convolutions(net, compute):
        for batch, labels in batches:
            with compute.autocast():
                logits = net(compute.arrange(batch))
            tally.add(F.cross_entropy(logits.float(), labels, reduction="sum"), logits, labels)
    net.train(training)
    return tally.outcome()
