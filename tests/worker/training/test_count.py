"""The tests of times look at a clock that they move themselves."""

from collections.abc import Callable, Sequence
from itertools import count

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from worker.training.count import Stopwatch, in_turns, latency, side_by_side
from worker.training.device import Compute


class Hand:
    """A clock that moves when it is moved, at a pace that changes from turn to turn."""

    def __init__(self, paces: Sequence[float] = (1.0,)) -> None:
        self.now = 0.0
        self.paces = paces
        self.moves = count()

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float, *, every: int = 1) -> None:
        """Move by some seconds at the pace of the turn, which lasts `every` moves."""
        turn = next(self.moves) // every
        self.now += seconds * self.paces[turn % len(self.paces)]


def _moved_by(net: Backbone, hand: Hand, seconds: float, *, every: int = 1) -> Backbone:
    net.register_forward_hook(lambda *_: hand.move(seconds, every=every))
    return net


def _net(width: int) -> Backbone:
    widths = Widths(dict.fromkeys(backbones.groups("vgg11", 8), width))
    return backbones.build("vgg11", widths, in_channels=1, size=8, classes=3)


def test_latency_is_measured_and_the_network_left_as_it_was(
    net: Backbone, compute: Compute
) -> None:
    net.train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert 0 < latency(net, compute, turns=3).ms < 1000
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_latency_is_the_median_turn_and_says_how_far_they_spread(compute: Compute) -> None:
    hand = Hand([1.0, 1.0, 1.0, 1.2, 5.0])
    timing = latency(_moved_by(_net(2), hand, 0.010), compute, turns=50, clock=hand)
    assert timing.ms == pytest.approx(10)
    assert timing.low_ms == pytest.approx(10)
    assert 10 < timing.high_ms <= 50


def test_a_machine_that_slows_down_for_a_while_slows_down_both(compute: Compute) -> None:
    """Each turn is three times as slow as the one before it, or as fast again."""
    hand = Hand([1.0, 3.0])
    # A turn of both takes four forwards: one of each is not timed.
    nets = [_moved_by(_net(2), hand, seconds, every=4) for seconds in (0.02, 0.008)]
    first, second = side_by_side(nets, compute, turns=11, clock=hand)
    assert second.ms / first.ms == pytest.approx(0.4)
    assert second.low_ms == pytest.approx(second.high_ms)


def test_a_call_too_short_for_the_clock_is_timed_in_bundles() -> None:
    hand = Hand()
    calls = [0, 0]

    def call(index: int, seconds: float) -> Callable[[], None]:
        def once() -> None:
            calls[index] += 1
            hand.move(seconds)

        return once

    times = in_turns([call(0, 1e-4), call(1, 1e-2)], turns=3, clock=hand)
    assert [len(each) for each in times] == [3, 3]
    assert times[0] == pytest.approx([1e-4] * 3)
    assert times[1] == pytest.approx([1e-2] * 3)
    assert calls == [4 + 3 * 21, 4 + 3 * 2]


def test_the_first_look_at_the_reference_is_the_measure_of_all_later_ones(
    compute: Compute,
) -> None:
    hand = Hand()
    whole, narrow = _moved_by(_net(4), hand, 0.010), _moved_by(_net(2), hand, 0.004)
    stopwatch = Stopwatch(compute, clock=hand)
    assert stopwatch([whole, narrow], thorough=False) == pytest.approx([10, 4])
    hand.paces = [2.0]  # from now on the machine is half as fast
    assert stopwatch([whole, narrow], thorough=True) == pytest.approx([10, 4])
    told = stopwatch.last
    assert told is not None
    assert told.ms == pytest.approx(4)


def test_the_macs_reported_are_half_of_what_torch_counts(net: Backbone) -> None:
    with FlopCounterMode(display=False) as counter:
        net.eval()(torch.zeros(1, 1, 8, 8))
    assert net.cost()[1] * 2 == counter.get_total_flops()
