"""One pass over a set of images: to learn, or to measure."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 -- torch's own name for it
from torch import Tensor, nn

from slbi.nets.suited import suited
from worker.training.data.batches import Batch, Batches
from worker.training.device import Compute, convolutions
from worker.training.team import ALONE, Team

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
    """Sums of a pass, kept on the device so that a GPU need not wait for them.

    Of several processes, each sums over its own images.
    """

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

    def check(self, step: int, rate: float, team: Team = ALONE) -> None:
        """Refuse a sum that is no finite number; once it is not, it never is again."""
        if not math.isfinite(team.total([self.loss.item()])[0]):
            raise DivergedError(
                f"training diverged by step {step}: the loss must be a finite number; "
                f"lower learning_rate, now {rate:g}"
            )

    def gather(self, team: Team) -> None:
        """Make the leader's sums those of all processes, and the others' nothing, in place."""
        if team.alone:
            return
        loss, right, count = team.total([self.loss.item(), self.right.item(), self.count])
        self.loss.fill_(loss if team.leads else 0.0)
        self.right.fill_(int(right) if team.leads else 0)
        self.count = int(count) if team.leads else 0

    def outcome(self, team: Team = ALONE) -> Outcome:
        """Return the means over the images of all processes."""
        loss, right, count = team.total([self.loss.item(), self.right.item(), self.count])
        return Outcome(loss=loss / count, accuracy=right / count)


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
    begun_at: int = 0,
    team: Team = ALONE,
) -> Outcome:
    """Train a network for one stretch of an epoch, or what is left of it, in place.

    Args:
        net: on the device of `compute`.
        optimizer: holds the parameters of `net`.
        batches: what is left of an epoch of them is drawn, as far as the stretch goes.
        rates: learning rate of each step of the stretch.
        compute: device and precision.
        tally: what the steps before gave; this one's are added.
        between: called before every step, when everything is as the step before left it.
        after: called after every step of the optimizer, to put right what must not move.
        first: number of the stretch's first step, for messages.
        begun_at: batches of the epoch that had been drawn when the stretch began.
        team: the processes that train together; `batches` are this one's share.

    Returns:
        Means over the stretch, of the network as it was at each step.

    Raises:
        DivergedError: the loss became infinite or NaN.
    """
    net.train()
    begun = batches.position - begun_at
    drawn = iter(batches)
    with convolutions(net, compute), team.training(net), suited(net):
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
            # The mean over a batch is the sum of what its parts weigh in it.
            part = loss if team.alone else loss * (len(labels) / batches.batch)
            part.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            team.add_gradients(net)
            optimizer.step()
            after()
            tally.add(loss.detach() * len(labels), logits.detach(), labels)
            if index % _LOOK == _LOOK - 1 or index == len(rates) - 1:
                tally.check(first + index + 1, rate, team)
    return tally.outcome(team)


@torch.no_grad()
def evaluate(
    net: nn.Module, batches: Iterable[Batch], compute: Compute, team: Team = ALONE
) -> Outcome:
    """Measure a network over a set of images; it keeps its mode.

    Args:
        net: on the device of `compute`.
        batches: one image or more; of several processes, of all together.
        compute: device and precision.
        team: the processes that measure together.
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
    return tally.outcome(team)
