import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from slbi.growth.pairs import PairedSeed
from slbi.growth.rates import new_rate
from slbi.growth.seed import RandomSeed, Seed
from slbi.growth.widen import widen
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths

Trained = Callable[..., Any]
NAMES = ["lenet5", "vgg11", "resnet20", "flat"]


def _wider(trained: Trained, name: str, seed: Seed) -> tuple[Backbone, Backbone, Tensor]:
    """Return a trained network, the same with two new filters a group, and images."""
    net, optimizer, images = trained(name, dtype=torch.float64)
    after = Widths({group: width + 2 for group, width in net.widths.items()})
    source = torch.Generator().manual_seed(3)
    return net, widen(net, optimizer, after, seed=seed, generator=source)[0], images


def _gradients(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    loss = cross_entropy(net(images), torch.arange(len(images)) % 5)
    loss.backward()  # type: ignore[no-untyped-call] # torch's own
    return {
        name: each.grad.clone() for name, each in net.named_parameters() if each.grad is not None
    }


@pytest.mark.parametrize("seed", [RandomSeed(), PairedSeed()])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_new_filters_are_scaled_and_no_others(
    trained: Trained, name: str, seed: Seed
) -> None:
    net, wider, images = _wider(trained, name, seed)
    plain = _gradients(wider, images)
    with new_rate(wider, net.widths, 0.25):
        scaled = _gradients(wider, images)
    for each, old in net.named_parameters():
        # New filters come behind the old ones along every axis.
        factor = torch.full_like(plain[each], 0.25)
        factor[tuple(slice(length) for length in old.shape)] = 1.0
        assert torch.equal(scaled[each], plain[each] * factor), each


def test_a_step_moves_new_filters_as_far_as_a_learning_rate_of_their_own_would(
    trained: Trained,
) -> None:
    net, wider, images = _wider(trained, "vgg11", RandomSeed())
    before = {name: each.detach().clone() for name, each in wider.named_parameters()}
    moved = []
    for factor, rate in ((1.0, 0.04), (2.0, 0.02)):
        wider.load_state_dict(before, strict=False)
        optimizer = torch.optim.SGD(wider.parameters(), lr=rate, momentum=0.9)
        with new_rate(wider, net.widths, factor):
            _gradients(wider, images)
        optimizer.step()
        weight = wider.get_parameter("features.conv1.conv.weight").detach()
        moved.append((weight - before["features.conv1.conv.weight"])[net.widths["conv1"] :])
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("broken", [False, True])
def test_behind_it_nothing_is_scaled_even_after_an_error(trained: Trained, broken: bool) -> None:
    net, wider, images = _wider(trained, "resnet20", RandomSeed())
    plain = _gradients(wider, images)
    with suppress(KeyError), new_rate(wider, net.widths, 3.0):
        if broken:
            wider.widths["a group that there is not"]
    behind = _gradients(wider, images)
    assert all(torch.equal(behind[name], plain[name]) for name in plain)


def test_a_copy_made_inside_learns_at_the_common_rate(trained: Trained) -> None:
    net, wider, images = _wider(trained, "vgg11", RandomSeed())
    plain = _gradients(wider, images)
    with new_rate(wider, net.widths, 3.0):
        copied = _gradients(copy.deepcopy(wider), images)
    assert all(torch.equal(copied[name], plain[name]) for name in plain)


def test_frozen_parameters_are_left_alone_and_where_nothing_is_new_nothing_is_scaled(
    trained: Trained,
) -> None:
    net, wider, images = _wider(trained, "vgg11", RandomSeed())
    first = wider.get_parameter("features.conv1.conv.weight").requires_grad_(False)
    with new_rate(wider, net.widths, 0.5):
        assert "features.conv1.conv.weight" not in _gradients(wider, images)
    first.requires_grad_()
    plain = _gradients(wider, images)
    with new_rate(wider, wider.widths, 0.5):
        same = _gradients(wider, images)
    assert all(torch.equal(same[name], plain[name]) for name in plain)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_a_factor_that_is_not_above_zero_is_refused(trained: Trained, factor: float) -> None:
    net, wider, _ = _wider(trained, "flat", RandomSeed())
    with pytest.raises(ValueError, match="factor must be > 0"), new_rate(wider, net.widths, factor):
        pass
