"""Gradients of new filters: what is kept of them, and how they are counted."""

from typing import Any

import pytest
import torch
from torch import nn

from bench.family.networks import Standard
from bench.family.ours import at_random
from bench.family.training import Settings, plain
from bench.family.transferred import in_pairs
from bench.family.trunk import Means, Trunk, Widen
from bench.health.births import SHARE, Watch, made, shares
from slbi.growth.widen import widen
from slbi.nets.graph.find import Found, find
from slbi.nets.widths import Widths


def tiny() -> tuple[nn.Module, Found]:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3 * 16, 2),
    )
    return net, find(net, (1, 6, 6))


def step(net: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    optimizer.zero_grad()
    images = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    net(images).square().mean().backward()
    optimizer.step()


def watched(steps: int, epoch: int = 5, *, zeroed: int | None = None) -> Watch:
    """Return what a watch saw of a first layer that grew from 4 to 6 filters."""
    net, found = tiny()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    widths = Widths({**found.widths, "0": 6})
    wider, onward = widen(
        net, optimizer, widths, found=found, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        wider.get_parameter("3.weight")[:, 4:] = 0.5  # new filters are read at once
    if zeroed is not None:
        onward.register_step_pre_hook(lambda *_: _zero(wider.get_parameter("0.weight"), zeroed))
    watch = Watch(epoch)
    watch.follow(wider, onward, found.resized(widths), found.widths)
    for number in range(steps):
        step(wider, onward, number)
    return watch


def test_only_layers_that_grew_have_births_and_biases_make_no_filters() -> None:
    net, found = tiny()
    assert set(made(net, found)) == {"0.weight", "3.weight"}
    (birth,) = watched(1).births
    assert (birth.layer, birth.round, birth.before, birth.after) == ("0.weight", 1, 4, 6)


def test_a_birth_is_followed_for_an_epoch_and_not_longer() -> None:
    (birth,) = watched(3).births
    assert [tuple(norms.shape) for norms in birth.norms] == [(6,)] * 3
    (birth,) = watched(9).births
    assert len(birth.norms) == 5


def test_norms_are_those_of_the_gradient_of_each_filter() -> None:
    net, found = tiny()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.5)
    watch = Watch(5)
    watch.follow(net, optimizer, found, Widths({**found.widths, "3": 2}))
    step(net, optimizer, 0)
    gradient = net.get_parameter("3.weight").grad
    assert gradient is not None
    torch.testing.assert_close(watch.births[0].norms[0], gradient.flatten(1).norm(dim=1))


def test_a_filter_whose_gradient_is_zeroed_does_not_reach_its_layer_and_others_do() -> None:
    (birth,) = watched(5, zeroed=5).births
    best = shares(torch.stack(birth.norms), birth.before, 2).amax(0)
    assert best[0] >= SHARE
    assert best[1] == 0


def test_shares_are_of_the_median_of_all_filters_in_each_window() -> None:
    norms = torch.tensor([[1.0, 3.0, 0.0], [1.0, 1.0, 4.0], [1.0, 1.0, 0.5]])
    found = shares(norms, 2, 2)
    torch.testing.assert_close(found, torch.tensor([[2.0 / 2.0], [2.25 / 1.0]]))
    torch.testing.assert_close(shares(norms, 2, 99), torch.tensor([[1.5 / 1.5]]))


def test_in_a_layer_without_gradients_no_filter_learns() -> None:
    assert shares(torch.zeros(4, 3), 1, 2).amax() == 0


@pytest.mark.parametrize("widening", [at_random, in_pairs])
def test_a_widening_of_a_trunk_is_watched_through_the_next_one(widening: Widen) -> None:
    standard = Standard("small-vgg", 1, 8, 10)
    widths = standard.uniform(standard.limits((0.05,))[0])
    net = standard.fresh(widths, torch.Generator().manual_seed(0))
    found = standard.found().resized(widths)
    trunk = Trunk(standard=standard, net=net, found=found, optimizer=plain(net, Settings()))
    watch = Watch(4)
    grow = watch.around(widening)
    means = _means()
    for _ in range(2):
        wider = Widths({group: width + 2 for group, width in trunk.found.widths.items()})
        trunk.net, trunk.optimizer = grow(trunk, wider, means)
        trunk.found = trunk.found.resized(wider)
        for number in range(3):
            trunk.optimizer.zero_grad()
            images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(number))
            trunk.net(images).square().mean().backward()
            trunk.optimizer.step()
    first = [birth for birth in watch.births if birth.round == 1]
    second = [birth for birth in watch.births if birth.round == 2]
    assert len(first) == len(second) == 6
    assert all(len(birth.norms) == 4 for birth in first)
    assert all(len(birth.norms) == 3 for birth in second)
    assert all(len(norms) == birth.after for birth in watch.births for norms in birth.norms)
    inner = next(birth for birth in first if birth.layer == "conv3.weight")
    unread = bool((inner.norms[0][inner.before :] == 0).all())
    assert unread == (widening is at_random)


def _zero(weight: nn.Parameter, filter_: int) -> None:
    if weight.grad is not None:
        weight.grad[filter_] = 0.0


def _means() -> Means:
    nothing: Any = None  # these ways to widen use the generator alone
    drawn = torch.Generator().manual_seed(0)
    return Means(task=nothing, stream=iter(()), run=nothing, generator=drawn)
