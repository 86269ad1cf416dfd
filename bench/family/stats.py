"""What rows say together: means and spreads over seeds, and how far ours is from the others."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.family.rows import MemberRow, Row

Setting = tuple[str, str, int, int]
"""Data set, backbone, training images, compute: what is compared has all of them in common."""


@dataclass(frozen=True, slots=True)
class Stat:
    """A number over seeds."""

    mean: float
    spread: float | None
    """Standard deviation of the sample; None of one seed."""
    seeds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A method at one budget, over its seeds."""

    test: Stat
    """Test accuracy, %."""
    macs: float
    """Mean multiply-accumulates of one image."""
    cpu_seconds: float
    """Mean seconds of one core until the member was ready."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A method at all its budgets."""

    method: str
    points: Mapping[float, Point]
    """Budget -> the member of that budget."""
    spent: float
    """Mean training multiply-accumulates, all runs together."""
    cpu_seconds: float
    """Mean seconds of one core, all runs together."""
    machines: frozenset[str]
    """What its rows were made on."""


def settings(rows: Iterable[Row]) -> list[Setting]:
    """Return what rows there are about, backbone by backbone, rising compute."""
    return sorted({(row.dataset, row.backbone, row.images, row.compute) for row in rows})


def lines(rows: Iterable[Row], setting: Setting, order: Sequence[str]) -> list[Line]:
    """Return every method that has rows of one setting, in some order of methods."""
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        if (row.dataset, row.backbone, row.images, row.compute) == setting:
            by_method.setdefault(row.method, []).append(row)
    return [_line(method, by_method[method]) for method in order if method in by_method]


def margins(ours: Line, rivals: Sequence[Line]) -> dict[float, tuple[float, str]]:
    """Return budget -> how far ours is above the best of some rivals, points, and which that is.

    Budgets that one of them lacks are left out.
    """
    found = {}
    for budget, point in ours.points.items():
        there = [rival for rival in rivals if budget in rival.points]
        if there:
            best = max(there, key=lambda rival: rival.points[budget].test.mean)
            found[budget] = (point.test.mean - best.points[budget].test.mean, best.method)
    return found


def overtaken(ours: Sequence[Line], rival: Line, budget: float) -> float | None:
    """Return the seconds until ours has a member as accurate as a rival's, and no dearer than it.

    None where it never has.

    Args:
        ours: runs, each of its own compute; of those on the rival's machine the one that is there
            first counts.
        rival: what is raced.
        budget: of the rival's member.
    """
    least = rival.points[budget].test.mean
    ready = [
        point.cpu_seconds
        for line in ours
        if line.machines == rival.machines
        for within, point in line.points.items()
        if within <= budget and point.test.mean >= least
    ]
    return min(ready, default=None)


def front(line: Line) -> Line:
    """Return a line on which every budget has the best member that is within it."""
    points: dict[float, Point] = {}
    best: Point | None = None
    for budget, point in sorted(line.points.items()):
        if best is None or point.test.mean > best.test.mean:
            best = point
        points[budget] = best
    return replace(line, points=points)


def stat(values: Sequence[float]) -> Stat:
    """Return mean and spread of one number or more."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Stat(statistics.fmean(values), spread, len(values))


def _line(method: str, rows: Sequence[Row]) -> Line:
    members: dict[float, list[MemberRow]] = {}
    for row in rows:
        for member in row.members:
            members.setdefault(member.budget, []).append(member)
    return Line(
        method=method,
        points={
            budget: Point(
                test=stat([100 * each.test for each in made]),
                macs=statistics.fmean(each.macs for each in made),
                cpu_seconds=statistics.fmean(each.cpu_seconds for each in made),
            )
            for budget, made in sorted(members.items())
        },
        spent=statistics.fmean(sum(row.runs) for row in rows),
        cpu_seconds=statistics.fmean(row.cpu_seconds for row in rows),
        machines=frozenset(row.machine for row in rows),
    )
