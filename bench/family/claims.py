"""What must hold of ours, budget by budget, said of the rows there are, whether it holds or not.

Source of the claims: issue 6, "Must hold".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.family.stats import Line, margins

OURS = "ours-votes"
"""The method that the claims are about."""

NARROW = ("uniform-even", "uniform-epochs")
PRUNED = ("pruned-l2", "pruned-taylor")

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


def verdicts(there: Sequence[Line], triple: Sequence[Line]) -> list[Verdict]:
    """Return what can be said of every claim for which there are rows.

    Args:
        there: all methods at one compute.
        triple: all methods at three times that compute.
    """
    at = {line.method: line for line in there}
    told = []
    if OURS in at:
        for what, names in (("2, C/5 each", NARROW), ("3, pruned", PRUNED)):
            rivals = [at[name] for name in names if name in at]
            if rivals:
                found = margins(at[OURS], rivals)
                claim = f"ours is {AHEAD} points above {what} at every budget"
                holds = all(ahead >= AHEAD for ahead, _ in found.values())
                told.append(Verdict(claim=claim, holds=holds, found=_said(found)))
        rivals = [line for line in triple if line.method in (*NARROW, *PRUNED)]
        if rivals:
            found = margins(at[OURS], rivals)
            claim = f"ours is not below 2 and 3 at 3 C at {BUDGETS_OF_A_FRONT} budgets or more"
            good = sum(ahead >= 0 for ahead, _ in found.values())
            told.append(Verdict(claim=claim, holds=good >= BUDGETS_OF_A_FRONT, found=_said(found)))
    if "ours-alone" in at and "uniform-alone" in at:
        found = margins(at["ours-alone"], [at["uniform-alone"]])
        claim = "with one budget and all of C, ours is not below the narrow network"
        holds = all(ahead >= 0 for ahead, _ in found.values())
        told.append(Verdict(claim=claim, holds=holds, found=_said(found)))
    return told


def _said(found: Mapping[float, tuple[float, str]]) -> str:
    return ", ".join(f"{100 * budget:g} %: {ahead:+.2f}" for budget, (ahead, _) in found.items())
