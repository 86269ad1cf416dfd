"""What rows say of the four claims: figures, and whether each claim holds."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean
from typing import Final

from bench.health.births import SHARE
from bench.health.rows import BirthRow, NetworkRow, RecipeRow, TrunkRow

WAY: Final = "pairs"
"""The way of growth toward targets, which the claims are about; others are there to compare."""

LEARN: Final = 0.95
"""Part of the grown filters that must reach their layer."""

DEAD: Final = 0.02
"""Part of a member's filters below which the dead ones must be."""

APART: Final = 0.10
"""How far final widths may be apart, relative to their mean."""

RUNS: Final = 20
"""Runs that must end by themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """How many of some new filters reached their layer."""

    seeds: int
    filters: int
    unseen: int
    """Of these, those that no step of the trunk followed."""
    reached: int
    """In some window of their first epoch."""
    first: int
    """In its first window."""
    mean: int
    """With the mean over all steps that they were watched for."""
    steps: int
    """The fewest steps of a birth that was seen."""

    @property
    def share(self) -> float:
        """Return the part that reached, of those that were seen."""
        return self.reached / max(1, self.filters - self.unseen)


@dataclass(frozen=True, kw_only=True, slots=True)
class Living:
    """How many filters of the members of one budget are dead."""

    budget: float
    seeds: int
    filters: int
    constant: int
    unread: int
    dead: int
    """Either."""
    where: Mapping[str, int]
    """Layer -> dead filters, most first."""

    @property
    def share(self) -> float:
        """Return the part that is dead."""
        return self.dead / self.filters


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How far the final widths of runs are apart that differ in seed and start alone."""

    mode: str
    name: str
    backbone: str
    network: str
    """Which of the members."""
    final: bool
    """Whether growth ended with it."""
    starts: tuple[int, ...]
    runs: int
    group: str
    """Whose widths are the furthest apart."""
    least: int
    """Its least width."""
    most: int
    apart: float
    """Its largest width less its least, relative to the mean."""
    by_seed: float
    """The same over seeds at one start, the largest of all groups and starts."""
    by_start: float
    """The same over starts of the means over seeds, the largest of all groups."""
    macs_apart: float
    """The same of the multiply-accumulates."""


def ways(rows: Iterable[TrunkRow]) -> dict[tuple[str, str], list[TrunkRow]]:
    """Return way and backbone -> rows."""
    found: dict[tuple[str, str], list[TrunkRow]] = {}
    for row in rows:
        found.setdefault((row.way, row.backbone), []).append(row)
    return dict(sorted(found.items()))


def learning(rows: Sequence[TrunkRow], layer: str | None = None) -> Learning:
    """Return what new filters of some trunks learned, of all layers or one."""
    births = [birth for row in rows for birth in row.births if layer in {None, birth.layer}]
    return _counted(births, len(rows))


def paired(rows: Sequence[TrunkRow]) -> dict[str, Learning]:
    """Return what new filters learned that came in pairs, and those left over of an odd number.

    Pairs come first; the last of an odd number is equal to a pair, a copy, or read by nothing.
    """
    pairs, over = [], []
    for birth in (birth for row in rows for birth in row.births):
        last = birth.after - birth.new % 2
        pairs.append(_part(birth, birth.before, last))
        over.append(_part(birth, last, birth.after))
    return {
        name: _counted([birth for birth in births if birth.new], len(rows))
        for name, births in (("in pairs", pairs), ("left over", over))
    }


def behind(rows: Sequence[TrunkRow]) -> dict[str, Learning]:
    """Return layer -> what its new filters learned, where not all reached it, worst first."""
    layers = dict.fromkeys(birth.layer for row in rows for birth in row.births)
    found = {layer: learning(rows, layer) for layer in layers}
    some = [layer for layer in layers if found[layer].share < 1]
    return {layer: found[layer] for layer in sorted(some, key=lambda name: found[name].share)}


def living(rows: Sequence[TrunkRow]) -> list[Living]:
    """Return how many filters are dead, budget by budget."""
    members = sorted((member for row in rows for member in row.members), key=lambda m: m.budget)
    found = []
    for budget, same in groupby(members, key=lambda member: member.budget):
        there = list(same)
        layers = [layer for member in there for layer in member.layers]
        where: Counter[str] = Counter()
        for layer in layers:
            where[layer.name] += layer.dead
        found.append(
            Living(
                budget=budget,
                seeds=len(there),
                filters=sum(layer.filters for layer in layers),
                constant=sum(len(layer.constant) for layer in layers),
                unread=sum(len(layer.unread) for layer in layers),
                dead=sum(layer.dead for layer in layers),
                where={name: count for name, count in where.most_common() if count},
            )
        )
    return found


def agreements(rows: Iterable[RecipeRow]) -> list[Agreement]:
    """Return how far widths are apart, of every tuned network of runs of one kind.

    Kinds of which one start alone has rows are left out.
    """
    kinds: dict[tuple[str, str, str], list[RecipeRow]] = {}
    for row in rows:
        kinds.setdefault((row.mode, row.name, row.backbone), []).append(row)
    found = []
    for same in kinds.values():
        if len({row.start for row in same}) == 1:
            continue
        tuned = [_tuned(row) for row in same]
        for network in dict.fromkeys(name for names in tuned for name in names):
            there = [
                (row, names[network])
                for row, names in zip(same, tuned, strict=True)
                if network in names
            ]
            found.append(_agreement(same[0], network, there))
    return found


def apart(values: Sequence[float]) -> float:
    """Return the largest of some values less the least, relative to the mean."""
    return (max(values) - min(values)) / fmean(values)


def beyond(row: RecipeRow) -> list[str]:
    """Return in what a run went beyond its caps, or that it did not end by itself."""
    caps, told = row.growth, []
    if not row.end:
        told.append("no reason for its end")
    counts = {
        "max_rounds": row.rounds if row.mode == "rounds" else 0,
        "max_epochs": row.growth_epochs,
        "max_training_macs": row.training_macs,
        "max_macs": max(member.macs for member in row.members),
        "max_params": max(member.params for member in row.members),
    }
    told += [
        f"{name} {caps[name]}, was {count}"
        for name, count in counts.items()
        if caps.get(name) is not None and count > caps[name]
    ]
    return told + _beyond_targets(row)


def _beyond_targets(row: RecipeRow) -> list[str]:
    """Return which members are beyond the target that they are on the way to."""
    told, target = [], 0
    for member in row.members if row.limits else ():
        sizes = {"max_macs": member.macs, "max_params": member.params}
        allowed = row.limits[min(target, len(row.limits) - 1)]
        told += [
            f"target {target + 1}, {name} {limit}, was {sizes[name]}"
            for name, limit in allowed.items()
            if sizes[name] > limit
        ]
        target += member.kind == "tuned"
    if row.limits and target != len(row.limits):
        told.append(f"{len(row.limits)} targets, served {target}")
    return told


def _counted(births: Sequence[BirthRow], seeds: int) -> Learning:
    seen = [birth for birth in births if birth.steps]
    return Learning(
        seeds=seeds,
        filters=sum(birth.new for birth in births),
        unseen=sum(birth.new for birth in births if not birth.steps),
        reached=sum(_reaching(birth.best) for birth in seen),
        first=sum(_reaching(birth.first) for birth in seen),
        mean=sum(_reaching(birth.mean) for birth in seen),
        steps=min((birth.steps for birth in seen), default=0),
    )


def _part(birth: BirthRow, first: int, end: int) -> BirthRow:
    """Return the row of some of a birth's filters, from the one numbered `first` up to `end`."""
    taken = slice(first - birth.before, end - birth.before)
    return replace(
        birth,
        before=first,
        after=end,
        best=birth.best[taken],
        first=birth.first[taken],
        mean=birth.mean[taken],
    )


def _agreement(
    row: RecipeRow, network: str, there: Sequence[tuple[RecipeRow, NetworkRow]]
) -> Agreement:
    widths: dict[str, dict[int, list[int]]] = {}
    for run, member in there:
        for group, width in member.widths.items():
            widths.setdefault(group, {}).setdefault(run.start, []).append(width)
    every = {
        group: [width for same in starts.values() for width in same]
        for group, starts in widths.items()
    }
    worst = max(every, key=lambda group: apart(every[group]))
    return Agreement(
        mode=row.mode,
        name=row.name,
        backbone=row.backbone,
        network=network,
        final=network in {"grown", f"target {len(row.limits)}"},
        starts=tuple(sorted({run.start for run, _ in there})),
        runs=len(there),
        group=worst,
        least=min(every[worst]),
        most=max(every[worst]),
        apart=apart(every[worst]),
        by_seed=max(apart(same) for starts in widths.values() for same in starts.values()),
        by_start=max(
            apart([fmean(same) for same in starts.values()]) for starts in widths.values()
        ),
        macs_apart=apart([member.macs for _, member in there]),
    )


def _tuned(row: RecipeRow) -> dict[str, NetworkRow]:
    """Return name -> the tuned networks of a run: by target, or grown and what the support left."""
    tuned = [member for member in row.members if member.kind == "tuned"]
    if row.limits:
        return {f"target {number}": member for number, member in enumerate(tuned, 1)}
    return {"support" if "support" in member.origin else "grown": member for member in tuned}


def _reaching(shares: Sequence[float]) -> int:
    return sum(share >= SHARE for share in shares)
