import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from slbi.growth.widen import widen
from slbi.nets.graph.find import Found, find
from slbi.nets.graph.resize import resized
from slbi.nets.widths import Widths
from slbi.optim.optimizer import SLBI
from slbi.pruning.slice import slice_filters
from tests import zoo

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Largest change of a logit. Source: docs/method.md, "Growth"."""

OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "sgd": lambda net: torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9),
    "adamw": lambda net: torch.optim.AdamW(net.parameters(), lr=1e-3, amsgrad=True),
    "slbi": lambda net: SLBI(_groups(net), lr=0.01, mu=1.0),
}


def _groups(net: nn.Module) -> list[dict[str, Any]]:
    weights = list(net.parameters())
    return [
        {"params": [w for w in weights if w.ndim >= 2], "structure": "filter"},
        {"params": [w for w in weights if w.ndim < 2]},
    ]


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def _step(net: nn.Module, optimizer: Optimizer) -> None:
    optimizer.zero_grad()
    x = zoo.images(next(net.parameters()).dtype)
    losses = [cross_entropy(said, torch.arange(len(x))) for said in zoo.logits(net, x)]
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call] # torch's own
    optimizer.step()


def _trained(name: str, kind: str = "sgd", dtype: torch.dtype = torch.float64) -> tuple[
    nn.Module, Optimizer, Found
]:  # fmt: skip
    net = zoo.built(name, dtype=dtype)
    optimizer = OPTIMIZERS[kind](net)
    _step(net, optimizer)
    return net, optimizer, find(net, zoo.SHAPE)


def _wider(found: Found, by: int = 3) -> Widths:
    blended = {group.name for group in found.coupling.groups if group.blended is not None}
    return Widths(
        {name: width + by * (name not in blended) for name, width in found.widths.items()}
    )


def _widened(
    net: nn.Module, optimizer: Optimizer, found: Found, widths: Widths | None = None
) -> tuple[nn.Module, Optimizer, Found]:
    wanted = _wider(found) if widths is None else widths
    return zoo.widened(net, optimizer, found, wanted, seed=5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", zoo.CASES)
def test_widening_leaves_the_output_unchanged(name: str, dtype: torch.dtype) -> None:
    net, optimizer, found = _trained(name, dtype=dtype)
    wider, _, after = _widened(net, optimizer, found)
    assert find(wider, zoo.SHAPE) == after
    for training in (False, True):
        if name == "flat" and training:
            continue  # Its dropout draws for more entries.
        before = zoo.logits(net.train(training), zoo.images(dtype))
        now = zoo.logits(wider.train(training), zoo.images(dtype))
        for one, other in zip(before, now, strict=True):
            assert (one - other).abs().max() <= TOLERANCE[dtype]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", zoo.CASES)
def test_the_next_step_moves_old_filters_as_it_would_have(name: str, kind: str) -> None:
    net, optimizer, found = _trained(name, kind)
    wider, carried, after = _widened(net, optimizer, found, _wider(found))
    assert type(carried) is type(optimizer)
    assert len(carried.state) == len(optimizer.state)
    _step(net, optimizer)
    _step(wider, carried)
    back = {group: torch.arange(width) for group, width in found.widths.items()}
    sliced, _ = resized(wider, after, back)
    for parameter, old in net.named_parameters():
        moved = sliced.get_parameter(parameter)
        torch.testing.assert_close(moved, old, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", zoo.CASES)
def test_widening_and_slicing_back_gives_the_old_pair_bit_for_bit(name: str, kind: str) -> None:
    net, optimizer, found = _trained(name, kind)
    wider, carried, after = _widened(net, optimizer, found, _wider(found))
    keep = {
        group: torch.arange(after.widths[group]) < width for group, width in found.widths.items()
    }
    sliced = slice_filters(wider, carried, keep, found=after)
    back, driver = sliced.net, sliced.optimizer
    assert sliced.found == found
    for key, tensor in net.state_dict().items():
        assert torch.equal(back.state_dict()[key], tensor), key
    for parameter, old in net.named_parameters():
        for key, value in optimizer.state[old].items():
            assert torch.equal(driver.state[back.get_parameter(parameter)][key], value), key


@pytest.mark.parametrize("name", zoo.CASES)
def test_nothing_reads_a_new_filter_and_every_layer_makes_it(name: str) -> None:
    net, optimizer, found = _trained(name)
    wider, _, after = _widened(net, optimizer, found)
    state = wider.state_dict()
    for group in after.coupling.groups:
        first, last = found.widths[group.name], after.widths[group.name]
        for tie in group.ties:
            start = tie.offset + first * tie.block
            entries = range(start, tie.offset + last * tie.block)
            new = state[tie.tensor].movedim(tie.axis, 0)[list(entries)]
            if not len(new):
                continue
            if tie.role == "reader":
                assert not new.any(), tie
            elif tie.role == "norm":
                assert (new == tie.fill).all(), tie
            elif new.ndim > 1 and tie.role == "producer":
                assert new.flatten(1).any(dim=1).all(), tie


def test_readers_of_new_filters_learn_at_once() -> None:
    net, optimizer, found = _trained("dense")
    wider, carried, _ = _widened(net, optimizer, found)
    _step(wider, carried)
    gradient = wider.get_parameter("layers.1.weight").grad
    assert gradient is not None
    assert gradient[:, 6:9].flatten(1).any()
    assert gradient[:, 13:16].flatten(1).any()


def test_a_generator_gives_the_same_growth_again() -> None:
    net, optimizer, found = _trained("residual")
    state = torch.get_rng_state()
    one, other = (_widened(net, optimizer, found)[0] for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for key, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[key]), key


def test_the_old_pair_is_left_as_it_was() -> None:
    net, optimizer, found = _trained("squeeze", "adamw")
    before = copy.deepcopy(net.state_dict())
    moment = optimizer.state[net.get_parameter("stem.weight")]["exp_avg"].clone()
    wider, carried, _ = _widened(net, optimizer, found)
    _step(wider, carried)
    for key, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[key]), key
    assert torch.equal(optimizer.state[net.get_parameter("stem.weight")]["exp_avg"], moment)


def test_a_group_that_a_norm_takes_a_mean_of_is_refused_with_the_reason() -> None:
    net, optimizer, found = _trained("hidden")
    widths = found.widths.replaced({"stem": 7})
    reason = "group 'stem' must keep its width: LayerNorm layer_norm takes a mean over its filters"
    with pytest.raises(ValueError, match=reason):
        widen(net, optimizer, widths, found=found, generator=_generator())


def test_fewer_filters_are_refused() -> None:
    net, optimizer, found = _trained("squeeze")
    widths = found.widths.replaced({"stem": 5})
    with pytest.raises(ValueError, match="width of 'stem' must be >= 6, got 5"):
        widen(net, optimizer, widths, found=found, generator=_generator())
