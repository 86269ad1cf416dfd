"""How much must go until a network is as fast as asked: by measuring, not by counting.

The search knows nothing of networks: it looks for a place in a row of candidates, each narrower
than the one before, whose latency falls in steps, with plateaus and bumps, and is measured with
noise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from slbi.pruning.nested import Nested
from slbi.pruning.slice import slice_filters

MET: Final = 0.95
"""A target is met from this share of it on, up to the whole."""

_AIM: Final = 0.98
"""The search aims at this share, and is content from `_ENOUGH` on: a margin on both sides for what
differs when the candidate is measured again."""
_ENOUGH: Final = 0.96
_SECTIONS: Final = 7
"""Candidates between two others that are measured in turns. More cost memory, fewer cost rounds."""
_TRIES: Final = 12
"""Candidates that are measured thoroughly at most, until one is near enough below the limit."""
_WIDER: Final = 4
"""Wider ones at most that are looked at again, since the search had passed them over narrowly."""

_Same = Callable[[int, int], bool]


class Timer(Protocol):
    """Measures networks in turns, so that what slows the machine down slows all of them."""

    def __call__(self, nets: Sequence[Backbone], *, thorough: bool) -> Sequence[float]:
        """Return the latency of each network, ms.

        Args:
            nets: the first is the reference, of which the others' times are multiples.
            thorough: take as long as a result deserves; else as long as a search does.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The candidate that the search has settled on."""

    index: int
    ms: float
    """Its latency, ms, measured thoroughly."""
    wider_ms: float | None
    """Latency of the next wider one that was measured, ms; None if none goes."""


@dataclass(kw_only=True)
class _Row:
    """Candidates 0 (the whole network) to `last` with what is known of their latency."""

    measure: Callable[[Sequence[int], bool], Sequence[float]]
    seen: dict[int, float] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)
    """Measured thoroughly: a later and hastier look does not count."""

    def look(self, indices: Sequence[int]) -> None:
        new = [index for index in dict.fromkeys(indices) if index not in self.seen]
        if new:
            self.seen |= dict(zip(new, self.measure(new, False), strict=True))

    def settle(self, index: int) -> float:
        if index not in self.settled:
            (self.seen[index],) = self.measure([index], True)
            self.settled.add(index)
        return self.seen[index]

    def first_within(self, behind: int, ms: float) -> int | None:
        """Return the widest known candidate behind an index that is fast enough."""
        return min((i for i, seen in self.seen.items() if i > behind and seen <= ms), default=None)

    def last_before(self, index: int) -> int:
        """Return the narrowest known candidate before an index."""
        return max(i for i in self.seen if i < index)


def widest_within(
    measure: Callable[[Sequence[int], bool], Sequence[float]],
    last: int,
    limit_ms: float,
    *,
    same: _Same = lambda one, other: one == other,
) -> Place:
    """Return the widest candidate whose latency is at most the limit, as far as was looked.

    Candidates are measured in sections, the first ones all over the row, so that of two that are
    fast enough the wider one is taken wherever the row is not monotone. The one found is measured
    again, thoroughly, and so are others around it until one is near enough below the limit.

    Args:
        measure: indices, and whether to be thorough -> the latency of each, ms.
        last: index of the narrowest candidate; that of the whole network is 0.
        limit_ms: above 0.
        same: whether two indices are one candidate.

    Raises:
        ValueError: no candidate is fast enough; says what the fastest takes.

    Source: docs/method.md, "A target in latency".
    """
    row = _Row(measure=measure)
    row.look([0, *_between(0, last), last])
    if row.seen[0] <= limit_ms and row.settle(0) <= limit_ms:
        return Place(index=0, ms=row.seen[0], wider_ms=None)
    fast = row.first_within(0, _AIM * limit_ms)
    if fast is None:  # none leaves a margin: the limit itself decides
        fast = row.first_within(0, limit_ms) or last
    else:
        fast = _narrowed(row, fast, limit_ms, same)
    _settle_near(row, fast, last, limit_ms, same)
    within = [index for index in row.settled if row.seen[index] <= limit_ms]
    if not within:
        raise ValueError(
            f"max_latency_ms must be at least {min(row.seen.values()):.3g}, the latency of the "
            f"smallest widths, got {limit_ms:g}"
        )
    best = min(within)
    for index in sorted(i for i, ms in row.seen.items() if i < best and ms <= limit_ms)[:_WIDER]:
        if row.settle(index) <= limit_ms:  # a wider one that did without the margin
            best = index
            break
    return Place(index=best, ms=row.seen[best], wider_ms=row.seen[row.last_before(best)])


def _narrowed(row: _Row, fast: int, limit_ms: float, same: _Same) -> int:
    """Return the first candidate that hasty looks find fast enough, or one that nearly misses."""
    slow, aim = row.last_before(fast), _AIM * limit_ms
    while fast - slow > 1 and row.seen[fast] < _ENOUGH * limit_ms:
        inside = [i for i in _between(slow, fast) if not same(i, slow) and not same(i, fast)]
        if not inside:  # find where the one becomes the other
            slow, fast, middle = _parted(row, slow, fast, (slow + fast) // 2, same)
            inside = [] if middle is None else [middle]
        if inside:
            row.look(inside)
            fast = row.first_within(slow, aim) or fast
            slow = row.last_before(fast)
    return fast


def _settle_near(row: _Row, place: int, last: int, limit_ms: float, same: _Same) -> None:
    """Measure thoroughly, in place of the row, until one is near enough or none lies between."""
    slow, found = 0, None
    for _ in range(_TRIES):
        hasty, ms = row.seen[place], row.settle(place)
        if MET * limit_ms <= ms <= limit_ms:
            return
        slow, found = (place, found) if ms > limit_ms else (slow, place)
        if found is None:
            if place == last:
                return
            trust = min(1.0, hasty / ms)  # what looked faster than it is looked so elsewhere too
            place = row.first_within(place, _AIM * limit_ms * trust) or last
            continue
        between = None
        while between is None and found - slow > 1:
            drop = (row.seen[slow] - _AIM * limit_ms) / (row.seen[slow] - row.seen[found])
            middle = slow + round(min(0.9, max(0.1, drop)) * (found - slow))
            middle = min(found - 1, max(slow + 1, middle))
            slow, found, between = _parted(row, slow, found, middle, same)
        if between is None:
            return
        row.look([between])
        place = between


def _parted(
    row: _Row, slow: int, fast: int, middle: int, same: _Same
) -> tuple[int, int, int | None]:
    """Return both ends, one moved to the middle if it is the same candidate, else the middle."""
    if same(middle, slow):
        row.seen[middle] = row.seen[slow]
        return middle, fast, None
    if same(middle, fast):
        row.seen[middle] = row.seen[fast]
        if fast in row.settled:
            row.settled.add(middle)
        return slow, middle, None
    return slow, fast, middle


def _between(low: int, high: int) -> list[int]:
    """Return places that cut a stretch into sections, its ends left out."""
    places = (low + (high - low) * part // _SECTIONS for part in range(1, _SECTIONS))
    return [place for place in dict.fromkeys(places) if low < place < high]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fast:
    """What stays of a network that is as fast as asked."""

    keep: Mapping[str, Tensor]
    """Group -> (O,) bool, for the groups that are pruned."""
    ms: float
    """Latency of the sliced network, ms."""
    wider_ms: float | None
    """That of the next wider candidate that was measured; None if nothing goes."""
    limit_ms: float

    @property
    def met(self) -> bool:
        """Whether it is within 5 percent below the limit."""
        return MET * self.limit_ms <= self.ms <= self.limit_ms


def by_latency(
    net: Backbone,
    ranks: Mapping[str, Tensor],
    limit_ms: float,
    timer: Timer,
    *,
    multiple: int = 1,
    min_width: int | Mapping[str, int] = 1,
) -> Fast:
    """Return which filters stay so that the sliced network takes no longer than asked.

    Filters go in one order over all groups, as in `by_budget`; of the networks on that way the
    widest is taken that is fast enough. While it is searched for, networks of the right widths are
    measured; the one that is taken is sliced first.

    Args:
        net: the network, on the device that it is measured on.
        ranks: group -> (O,), comparable between groups; a group that is not named stays whole.
        limit_ms: milliseconds for what the timer measures.
        timer: measures some networks beside the whole one.
        multiple: widths are rounded up to a multiple of this, see `refilled`.
        min_width: fewest filters of a group; a table need not name every group.

    Raises:
        ValueError: the smallest widths are not fast enough; says what they take.

    Source: docs/method.md, "A target in latency".
    """
    nested = Nested(net=net, ranks=ranks, multiple=multiple, min_width=min_width)
    widths: dict[int, Widths] = {}

    def widths_of(gone: int) -> Widths:
        if gone not in widths:
            widths[gone] = nested.widths(gone)
        return widths[gone]

    def measure(indices: Sequence[int], thorough: bool) -> Sequence[float]:
        if thorough:
            nets = [slice_filters(net, None, nested.keep(index)).net for index in indices]
        else:
            nets = [net.hollow(widths_of(index)) for index in indices]
        return timer([net, *nets], thorough=thorough)[1:]

    place = widest_within(
        measure, nested.last, limit_ms, same=lambda one, other: widths_of(one) == widths_of(other)
    )
    return Fast(
        keep=nested.keep(place.index), ms=place.ms, wider_ms=place.wider_ms, limit_ms=limit_ms
    )
