"""How the entries along an axis belong to filters, and which filters must be the same.

An axis is a row of pieces: *runs*, which are all filters of one variable in their order, some
consecutive entries each, and *stills*, which no filter owns. A variable stands for filters that
come and go together. Finding out that two variables are the same, that one is really two behind
each other, or that its filters are coarser, binds it to a new layout; so a concatenation costs as
many pieces as it has parts, however wide they are.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """All filters of a variable, one behind the other."""

    var: int
    block: int
    """Consecutive entries that belong to one filter."""


@dataclass(frozen=True, slots=True)
class Still:
    """Entries that are there whatever the widths."""

    length: int
    reason: str
    """Why no filter owns them."""


Piece = Run | Still
Layout = tuple[Piece, ...]
"""The pieces of one axis, in order."""


class Filters:
    """Every variable of a network, and what is known of it. Methods without a result work in place.

    A layout handed in may be out of date; `resolved` brings it up to date.
    """

    def __init__(self) -> None:
        self._widths: list[int] = []
        self._bound: dict[int, Layout] = {}
        self._blended: dict[int, str] = {}

    def fresh(self, width: int) -> Layout:
        """Return the layout of an axis whose filters are new."""
        return (Run(self._new(width), 1),)

    def width(self, var: int) -> int:
        """Return how many filters a variable has."""
        return self._widths[var]

    def blended(self, var: int) -> str | None:
        """Return why a new filter of a variable would change the function, or None."""
        return self._blended.get(var)

    def length(self, layout: Layout) -> int:
        """Return the entries of an axis."""
        return sum(self._size(piece) for piece in layout)

    def resolved(self, layout: Layout) -> Layout:
        """Return a layout in terms of variables that stand for themselves."""
        pieces: list[Piece] = []
        for piece in layout:
            if not isinstance(piece, Run) or piece.var not in self._bound:
                pieces.append(piece)
                continue
            bound = self._bound[piece.var] = self.resolved(self._bound[piece.var])
            pieces.extend(_in_blocks(bound, piece.block))
        return tuple(pieces)

    def runs(self, layout: Layout) -> Iterator[Run]:
        """Yield the runs of a layout, up to date."""
        return (piece for piece in self.resolved(layout) if isinstance(piece, Run))

    def fix(self, layout: Layout, reason: str) -> None:
        """Let no filter own any entry of an axis."""
        for run in self.runs(layout):
            if run.var not in self._bound:  # A variable may stand twice in one axis.
                self._bound[run.var] = (Still(self.width(run.var), reason),)

    def blend(self, layout: Layout, reason: str) -> None:
        """Note that something takes a statistic over the filters of an axis."""
        for run in self.runs(layout):
            self._blended.setdefault(run.var, reason)

    def unify(self, one: Layout, other: Layout) -> None:
        """Let entry i of one axis belong to the filter of entry i of the other."""
        left, right = deque(one), deque(other)
        while left and right:
            first, second = self._head(left), self._head(right)
            if isinstance(first, Still) and isinstance(second, Still):
                self._drop(left, right, min(first.length, second.length))
            elif isinstance(first, Still):
                self._hold(second, first)
            elif isinstance(second, Still):
                self._hold(first, second)
            elif first == second:
                left.popleft()
                right.popleft()
            else:
                self._join(first, second)
        if left or right:
            raise AssertionError("axes of different lengths cannot be the same filters")

    def parts(self, layout: Layout, count: int) -> Layout:
        """Cut an axis into equal parts that must stay equal, and return the layout of each."""
        length = self.length(layout)
        if length % count:
            self.fix(layout, f"{length} entries are not {count} equal parts")
            return self.resolved(layout)
        first, rest = self.cut(layout, length // count)
        for _ in range(count - 1):
            part, rest = self.cut(rest, length // count)
            self.unify(first, part)
        return self.resolved(first)

    def cut(self, layout: Layout, at: int) -> tuple[Layout, Layout]:
        """Return the first `at` entries of an axis, and the rest."""
        before: list[Piece] = []
        rest = deque(layout)
        while at and rest:
            piece = self._head(rest)
            size = self._size(piece)
            if size <= at:
                before.append(rest.popleft())
                at -= size
            elif isinstance(piece, Still):
                rest.popleft()
                rest.appendleft(Still(size - at, piece.reason))
                before.append(Still(at, piece.reason))
                at = 0
            elif at % piece.block == 0:
                self._split(piece.var, at // piece.block)
            else:
                self.fix((piece,), "it is cut inside a filter")
        return tuple(before), tuple(rest)

    def coarsen(self, layout: Layout, block: int) -> None:
        """Let every `block` consecutive entries of an axis belong to one filter."""
        rest = deque(layout)
        position = 0
        while rest:
            piece = self._head(rest)
            if isinstance(piece, Run):
                common = math.lcm(piece.block, block)
                if position % block:
                    self.fix((piece,), f"it does not begin at a multiple of {block} entries")
                    continue
                if common != piece.block:
                    self._coarsen(piece.var, common // piece.block)
                    continue
            position += self._size(piece)
            rest.popleft()

    def scaled(self, layout: Layout, made: int, of: int) -> Layout:
        """Return the axis that has `made` entries for every `of` entries of this one.

        The axis must have been coarsened to blocks of `of`.
        """
        pieces: list[Piece] = []
        for piece in self.resolved(layout):
            if isinstance(piece, Run):
                pieces.append(Run(piece.var, piece.block // of * made))
            elif pieces and isinstance(pieces[-1], Still):
                pieces[-1] = Still(pieces[-1].length + piece.length, pieces[-1].reason)
            else:
                pieces.append(piece)
        return tuple(
            Still(piece.length // of * made, piece.reason) if isinstance(piece, Still) else piece
            for piece in pieces
        )

    def _new(self, width: int) -> int:
        self._widths.append(width)
        return len(self._widths) - 1

    def _size(self, piece: Piece) -> int:
        return piece.length if isinstance(piece, Still) else self._widths[piece.var] * piece.block

    def _head(self, pieces: deque[Piece]) -> Piece:
        """Return the first piece, up to date; what it is bound to replaces it, in place."""
        head = self.resolved((pieces.popleft(),))
        pieces.extendleft(reversed(head))
        return pieces[0]

    @staticmethod
    def _drop(left: deque[Piece], right: deque[Piece], length: int) -> None:
        for pieces in (left, right):
            still = pieces.popleft()
            if isinstance(still, Still) and still.length > length:
                pieces.appendleft(Still(still.length - length, still.reason))

    def _hold(self, run: Piece, still: Still) -> None:
        """Fix the filters of a run that meet entries which stay."""
        if not isinstance(run, Run):
            raise TypeError("a run must meet a still")
        if still.length < self._size(run) and still.length % run.block == 0:
            self._split(run.var, still.length // run.block)
        else:
            self.fix((run,), still.reason)

    def _join(self, one: Run, other: Run) -> None:
        """Bring two runs that begin at one entry one step closer to being the same."""
        common = math.lcm(one.block, other.block)
        if one.var == other.var:
            self.fix((one,), "its filters meet each other in two orders")
        elif common != one.block:
            self._coarsen(one.var, common // one.block)
        elif common != other.block:
            self._coarsen(other.var, common // other.block)
        elif self.width(one.var) > self.width(other.var):
            self._split(one.var, self.width(other.var))
        elif self.width(one.var) < self.width(other.var):
            self._split(other.var, self.width(one.var))
        else:
            self._bind(other.var, (Run(one.var, 1),))

    def _split(self, var: int, at: int) -> None:
        rest = self.width(var) - at
        self._bind(var, (Run(self._new(at), 1), Run(self._new(rest), 1)))

    def _coarsen(self, var: int, factor: int) -> None:
        width = self.width(var)
        if width % factor:
            self.fix((Run(var, 1),), f"{width} filters do not come in {factor}s")
        else:
            self._bind(var, (Run(self._new(width // factor), factor),))

    def _bind(self, var: int, layout: Layout) -> None:
        self._bound[var] = layout
        if var in self._blended:
            self.blend(layout, self._blended[var])


def _in_blocks(layout: Layout, block: int) -> Iterator[Piece]:
    """Yield the pieces of an axis each of whose entries becomes `block` entries."""
    for piece in layout:
        if isinstance(piece, Run):
            yield Run(piece.var, piece.block * block)
        else:
            yield Still(piece.length * block, piece.reason)


def repeated(layout: Layout, count: int, block: int) -> Layout:
    """Return an axis of `count` copies of another, each entry of which becomes `block` entries."""
    return tuple(_in_blocks(layout, block)) * count
