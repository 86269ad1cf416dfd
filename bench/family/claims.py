"""What must hold of ours, budget by budget, said of the rows there are, whether it holds or not.

Source of the claims: issue 6, "Must hold".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.family.stats import Line, front, margins

OURS = "ours"
"""The method that the claims are about."""

ALONE = "ours-alone"
"""The same with one budget in a run."""

STRAIGHT = "ours-alone-straight"
"""The same without a station on the way, as a split of the compute asks for."""

NARROW = ("uniform-even", "uniform-epochs")
PRUNED = ("pruned-l2", "pruned-taylor")

SEEDS = 3
"""Seeds whose mean counts."""

AHEAD = 0.5
"""Points by which ours must be ahead of each of them at every budget."""

BUDGETS_OF_A_FRONT = 3
"""Budgets at which ours must not be below rivals that had three times the compute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a claim holds."""

    claim: str
    holds: bool
    found: str
    """The figures."""
    seeds: int
    """Of the method that has the fewest; the claims are about `SEEDS`."""


def verdicts(there: Sequence[Line], triple: Sequence[Line], times: float = 3.0) -> list[Verdict]:
    """Return what can be said of every claim for which there are rows.

    Args:
        there: all methods at one compute.
        triple: all methods at three times that compute, or a little more.
        times: how many times it is.
    """
    at = {line.method: line for line in there}
    told = []
    if OURS in at:
        for what, names in (("2, C/5 each", NARROW), ("3, pruned", PRUNED)):
            claim = f"ours is {AHEAD} points above {what} at every budget"
            rivals = [at[name] for name in names if name in at]
            told += _told(claim, at[OURS], rivals, lambda ahead: min(ahead) >= AHEAD)
        told += _told(
            f"ours' front is not below 2's and 3's at {times:.3g} C at {BUDGETS_OF_A_FRONT} budgets"
            " or more",
            front(at[OURS]),
            [front(line) for line in triple if line.method in (*NARROW, *PRUNED)],
            lambda ahead: sum(each >= 0 for each in ahead) >= BUDGETS_OF_A_FRONT,
        )
    if ALONE in at:
        claim = "with one budget and all of C, ours is not below the narrow network"
        rivals = [line for line in there if line.method == "uniform-alone"]
        told += _told(claim, at[ALONE], rivals, lambda ahead: min(ahead) >= 0)
    return told


def _told(
    claim: str, ours: Line, rivals: Sequence[Line], holds: Callable[[Sequence[float]], bool]
) -> list[Verdict]:
    """Return the verdict on a claim; none where no rival has rows."""
    found = margins(ours, rivals)
    if not found:
        return []
    seeds = min(point.test.seeds for line in (ours, *rivals) for point in line.points.values())
    ahead = [points for points, _ in found.values()]
    return [Verdict(claim=claim, holds=holds(ahead), found=_said(found), seeds=seeds)]


def _said(found: Mapping[float, tuple[float, str]]) -> str:
    return ", ".join(f"{100 * budget:g} %: {ahead:+.2f}" for budget, (ahead, _) in found.items())
