"""How long a network takes for one image. Its parameters and MACs are `Backbone.cost()`.

A machine is never quite alone: a clock of the processor that changes, or a neighbour, slows
everything down for a while. So what is to be compared is measured in turns, and the times of a turn
are compared with each other. On one thread of a CPU, time is what that thread has run: it stands
still while another process has the core. Alone on a machine that is the time on the wall.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch

from slbi.nets.backbone import Backbone
from worker.training.device import Compute, convolutions

Clock = Callable[[], float]
"""Seconds, from any origin."""

_WARM = 3  # forwards before the clock starts: the first ones allocate and choose kernels
_TURN_S = 2e-3  # a turn takes about so long at least: a clock tells that to a thousandth
_MOST = 20  # forwards of a turn at most
_HASTY = 9  # odd, so that the median is a measurement; enough to find a place
_THOROUGH = 31  # turns of a result: quartiles of so many lie within a few percent of each other


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """What some turns of a network took, for one image."""

    ms: float
    """Median, ms."""
    low_ms: float
    """First quartile: a quarter of the turns took less."""
    high_ms: float
    """Third quartile."""


def latency(
    net: Backbone, compute: Compute, *, turns: int = _THOROUGH, clock: Clock | None = None
) -> Timing:
    """Return how long one image's forward pass takes on torch's current threads."""
    return side_by_side([net], compute, turns=turns, clock=clock)[0]


def side_by_side(
    nets: Sequence[Backbone],
    compute: Compute,
    *,
    turns: int = _THOROUGH,
    clock: Clock | None = None,
) -> list[Timing]:
    """Return how long each network takes, all measured in turns.

    Those behind the first one are measured as multiples of it, turn by turn, and told as those
    multiples of its median: what slows down a whole turn moves none of them.

    Args:
        nets: on the device; each is left as it was.
        compute: on what.
        turns: of each network, 1 or more.
        clock: what tells the time; None: `own_clock`.
    """
    ticking = own_clock(compute) if clock is None else clock
    with ExitStack() as ready:
        forwards = [ready.enter_context(_forward(net, compute)) for net in nets]
        times = in_turns(forwards, turns=turns, clock=ticking)
    own = _timing(times[0], 1e3)
    ratios = [
        [mine / first for mine, first in zip(each, times[0], strict=True)] for each in times[1:]
    ]
    return [own, *(_timing(ratio, own.ms) for ratio in ratios)]


def own_clock(compute: Compute) -> Clock:
    """Return the clock of what runs on a device: of its thread, where that is all there is."""
    alone = compute.device.type == "cpu" and torch.get_num_threads() == 1
    return time.thread_time if alone else time.perf_counter


def in_turns(
    forwards: Sequence[Callable[[], object]], *, turns: int, clock: Clock
) -> list[list[float]]:
    """Return for each of some calls the seconds that one took in each turn.

    A turn of a call is one that nobody times, for caches that the others have filled, and then as
    many as make a time that a clock can tell.
    """
    many = []
    for forward in forwards:
        for _ in range(_WARM):
            forward()
        many.append(min(_MOST, max(1, round(_TURN_S / max(_once(forward, 1, clock), 1e-9)))))
    times: list[list[float]] = [[] for _ in forwards]
    for _ in range(turns):
        for forward, count, each in zip(forwards, many, times, strict=True):
            forward()
            each.append(_once(forward, count, clock))
    return times


@dataclass
class Stopwatch:
    """A `slbi.pruning.latency.Timer` of a device: times are told as multiples of the reference's.

    What the reference itself takes is measured once, so that one search has one measure.
    """

    compute: Compute
    clock: Clock | None = None
    """None: `own_clock`."""
    reference: Timing | None = field(default=None, init=False)
    """Of the first network that it was given first."""
    last: Timing | None = field(default=None, init=False)
    """Of the last network that was measured thoroughly."""

    def __call__(self, nets: Sequence[Backbone], *, thorough: bool) -> Sequence[float]:
        """Return the latency of each network, ms; the first one is the reference."""
        for net in nets:
            self.compute.place(net)
        if self.reference is None:
            self.reference = latency(nets[0], self.compute, clock=self.clock)
        turns = _THOROUGH if thorough else _HASTY
        found = side_by_side(nets, self.compute, turns=turns, clock=self.clock)
        scale = self.reference.ms / found[0].ms
        scaled = [
            Timing(ms=each.ms * scale, low_ms=each.low_ms * scale, high_ms=each.high_ms * scale)
            for each in found
        ]
        if thorough:
            self.last = scaled[-1]
        return [each.ms for each in scaled]


def _once(forward: Callable[[], object], count: int, clock: Clock) -> float:
    begun = clock()
    for _ in range(count):
        forward()
    return (clock() - begun) / count


def _timing(values: Sequence[float], unit: float) -> Timing:
    twice = [*values, *values] if len(values) == 1 else values
    low, middle, high = statistics.quantiles(twice, n=4, method="inclusive")
    return Timing(ms=middle * unit, low_ms=low * unit, high_ms=high * unit)


@contextmanager
def _forward(net: Backbone, compute: Compute) -> Iterator[Callable[[], None]]:
    """Lend a call that does one image's forward pass, in evaluation."""
    training = net.training
    blank = torch.zeros(1, net.in_channels, net.size, net.size, device=compute.device)
    image = compute.arrange(blank)

    def forward() -> None:
        with torch.no_grad(), convolutions(net, compute), compute.autocast():
            net(image)
        if compute.device.type == "cuda":
            torch.cuda.synchronize(compute.device)

    net.eval()
    try:
        yield forward
    finally:
        net.train(training)
