import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from worker.training.data.augment import NONE
from worker.training.data.batches import TrainingBatches, evaluation_batches
from worker.training.data.formats import Part, read_digits
from worker.training.data.normalise import Normalisation, measure
from worker.training.device import Compute
from worker.training.epoch import DivergedError, Stopped, Tally, evaluate, train_epoch


class Flat(nn.Module):
    """A linear network on digits."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.flatten(1))
        return logits


@pytest.fixture
def digits() -> Part:
    return read_digits("train")


@pytest.fixture
def normal(digits: Part) -> Normalisation:
    return measure(digits.images, 16)


@pytest.fixture
def batches(digits: Part, normal: Normalisation) -> TrainingBatches:
    return TrainingBatches(
        digits,
        batch=64,
        normalisation=normal,
        augmentation=NONE,
        order=torch.Generator().manual_seed(0),
        variation=torch.Generator(),
    )


def test_training_lowers_the_loss_from_that_of_guessing(
    batches: TrainingBatches, compute: Compute
) -> None:
    net = Flat()
    optimizer = torch.optim.SGD(net.parameters(), lr=9.0)
    rates = [0.05] * len(batches)
    first, second = (
        train_epoch(
            net, optimizer, batches, rates=rates, compute=compute, tally=Tally(compute.device)
        )
        for _ in range(2)
    )
    assert second.loss < first.loss < 2.3
    assert second.accuracy > first.accuracy > 0.5
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_an_evaluation_is_the_mean_over_the_images_and_leaves_the_network_as_it_was(
    digits: Part, normal: Normalisation, compute: Compute
) -> None:
    net = Flat().train()
    nn.init.normal_(net.layer.weight, generator=torch.Generator().manual_seed(0))
    before = net.layer.weight.clone()
    found = evaluate(net, evaluation_batches(digits, normal, 100), compute)
    logits = net(normal.apply(digits.images))
    right = (logits.argmax(1) == digits.labels).double().mean().item()
    assert found.loss == pytest.approx(cross_entropy(logits, digits.labels).item(), rel=1e-5)
    assert found.accuracy == pytest.approx(right)
    assert net.training
    assert torch.equal(net.layer.weight, before)


def test_a_diverging_run_is_told_to_lower_its_learning_rate(
    batches: TrainingBatches, compute: Compute
) -> None:
    net = Flat()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    rates = [float("inf")] * len(batches)
    with pytest.raises(DivergedError, match=r"diverged by step 116.*lower learning_rate"):
        train_epoch(
            net,
            optimizer,
            batches,
            rates=rates,
            compute=compute,
            tally=Tally(compute.device),
            first=100,
        )


def test_a_run_stops_before_the_step_at_which_it_is_asked_to(
    batches: TrainingBatches, compute: Compute
) -> None:
    net = Flat()
    asked: list[bool] = []

    def between() -> None:
        asked.append(len(asked) == 3)
        if asked[-1]:
            raise Stopped

    taken = 0

    def count(*_: object) -> None:
        nonlocal taken
        taken += 1

    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    optimizer.register_step_post_hook(count)
    with pytest.raises(Stopped):
        train_epoch(
            net,
            optimizer,
            batches,
            rates=[0.1] * len(batches),
            compute=compute,
            tally=Tally(compute.device),
            between=between,
        )
    assert taken == batches.position == 3
