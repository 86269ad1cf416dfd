"""Synthetic latencies alone: no test here looks at a clock."""

import random
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from slbi.pruning.latency import by_latency, widest_within
from slbi.pruning.rank import filter_norms, rank_together
from slbi.pruning.slice import slice_filters

LAST = 1000
Curve = Callable[[int], float]


def smooth(index: int) -> float:
    """Latency of a candidate whose every filter counts, ms."""
    return 10 - 9 * index / LAST


def stepped(index: int) -> float:
    """One that counts in steps of a twentieth."""
    return smooth(index // 50 * 50)


def bumpy(index: int) -> float:
    """One that is slower by a third at every width that is no multiple of 8."""
    return smooth(index) * (1 if index % 8 == 0 else 1.3)


class Machine:
    """Measures candidates of a curve, with noise that thoroughness lessens."""

    def __init__(self, curve: Curve, *, noise: float = 0.0, seed: int = 0) -> None:
        self.curve, self.noise = curve, noise
        self.random = random.Random(seed)  # noqa: S311 -- noise of a test
        self.seen: dict[int, float] = {}

    def __call__(self, indices: Sequence[int], thorough: bool) -> Sequence[float]:
        spread = self.noise / (4 if thorough else 1)
        told = [self.curve(i) * (1 + self.random.uniform(-spread, spread)) for i in indices]
        self.seen |= dict(zip(indices, told, strict=True))
        return told


@given(
    share=st.floats(0.15, 0.95), noise=st.sampled_from([0.0, 0.02, 0.05]), seed=st.integers(0, 999)
)
@settings(max_examples=200, deadline=None)
def test_a_smooth_latency_is_met_within_five_percent(share: float, noise: float, seed: int) -> None:
    machine = Machine(smooth, noise=noise, seed=seed)
    limit = share * smooth(0)
    place = widest_within(machine, LAST, limit)
    thorough = noise / 4
    # A wider one that the noise makes look faster is taken, as one that is faster would be.
    assert 0.95 * (1 - thorough) * limit <= place.ms <= limit
    assert 0.949 * (1 - thorough) * limit <= smooth(place.index) <= (1 + thorough) * limit * 1.001


@given(share=st.floats(0.15, 0.95), seed=st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_on_a_step_the_next_below_is_taken_and_never_a_narrower_plateau(
    share: float, seed: int
) -> None:
    limit = share * 10
    place = widest_within(Machine(stepped, noise=0.001, seed=seed), LAST, limit)
    assert place.ms <= limit
    best = max(latency for i in range(LAST + 1) if (latency := stepped(i)) <= 0.979 * limit)
    assert stepped(place.index) >= best
    if stepped(place.index) < 0.95 * limit:
        assert place.wider_ms is not None
        assert place.wider_ms > 0.97 * limit


@given(share=st.floats(0.2, 0.9))
@settings(max_examples=100, deadline=None)
def test_no_wider_candidate_that_was_measured_is_as_fast(share: float) -> None:
    machine = Machine(bumpy)
    limit = share * bumpy(0)
    place = widest_within(machine, LAST, limit)
    assert place.ms <= limit
    assert all(ms > place.ms for index, ms in machine.seen.items() if index < place.index)


def test_a_bump_is_passed_over_for_a_wider_candidate_behind_which_it_lies() -> None:
    """A third of all widths is slow: the wide and fast ones are found between them."""

    def hill(index: int) -> float:
        return smooth(index) + (4 if 300 <= index < 600 else 0)

    place = widest_within(Machine(hill), LAST, 0.8 * hill(0))
    assert place.index < 300
    assert 0.95 * 8 <= place.ms <= 8


def test_a_candidate_that_turns_out_too_slow_is_left_for_a_narrower_one() -> None:
    class Flattering(Machine):
        """The hasty look sees everything a tenth faster than it is."""

        def __call__(self, indices: Sequence[int], thorough: bool) -> Sequence[float]:
            return [self.curve(i) * (1 if thorough else 0.9) for i in indices]

    place = widest_within(Flattering(smooth), LAST, 5)
    assert place.ms == smooth(place.index)
    assert place.ms <= 5


def test_a_network_that_is_fast_enough_stays_whole() -> None:
    place = widest_within(Machine(smooth), LAST, 11)
    assert (place.index, place.ms, place.wider_ms) == (0, 10, None)


def test_a_target_that_no_width_reaches_is_refused_with_the_least() -> None:
    with pytest.raises(ValueError, match=r"max_latency_ms must be at least 1, .* got 0\.5"):
        widest_within(Machine(smooth), LAST, 0.5)


def test_few_candidates_are_measured() -> None:
    machine = Machine(smooth)
    widest_within(machine, 26_000, 0.5 * smooth(0))
    assert len(machine.seen) < 40


def _in_eights(net: Backbone) -> float:
    """Return a latency that only whole vectors of 8 filters count in, ms."""
    return sum(-(-width // 8) for width in net.widths.values()) / 10


class Eights:
    """Measures networks by `_in_eights`."""

    def __call__(self, nets: Sequence[Backbone], *, thorough: bool) -> Sequence[float]:  # noqa: ARG002
        return [_in_eights(net) for net in nets]


@pytest.mark.parametrize("name", ["vgg11", "resnet20"])
@pytest.mark.parametrize("multiple", [1, 8])
def test_the_sliced_network_is_as_fast_as_was_told(name: str, multiple: int) -> None:
    widths = Widths(dict.fromkeys(backbones.groups(name, 8), 32))
    draw = torch.Generator().manual_seed(0)
    net = backbones.build(name, widths, in_channels=1, size=8, classes=3, generator=draw)
    ranks = rank_together(filter_norms(net), {}, "norm")
    limit = 0.6 * _in_eights(net)
    fast = by_latency(net, ranks, limit, Eights(), multiple=multiple)
    sliced = slice_filters(net, None, fast.keep).net
    assert _in_eights(sliced) == fast.ms
    assert fast.met
    assert all(width % multiple == 0 for width in sliced.widths.values())
