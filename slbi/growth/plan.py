"""Which groups are widened, and by how much, within the caps."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from slbi.nets.widths import Widths

Cost = Callable[[Widths], tuple[int, int]]
"""Returns parameters and multiply-accumulates of the network with some widths; grows with each."""

Slow = Callable[[Widths], str | None]
"""Returns why a network with some widths takes too long, a sentence that names the cap, or None."""

_SHARES: Final = 64
"""Steps in which the growth of all due groups is cut together; then each is filled up alone."""

NumberT = TypeVar("NumberT", int, float)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One group that is widened."""

    group: str
    before: int
    """Filters before."""
    after: int
    """Filters after."""
    wanted: int
    """Filters it would have without the caps on parameters and multiply-accumulates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """One group that is due and yet not widened."""

    group: str
    reason: str
    """A sentence for people that names the cap."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What one round of growth does."""

    widths: Widths
    """Widths after it."""
    changes: tuple[Change, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Budget:
    """The caps on what a network may cost."""

    cost: Cost | None
    max_params: int | None
    max_macs: int | None
    slow: Slow | None
    over: dict[Widths, str | None] = field(default_factory=dict)

    def excess(self, widths: Widths) -> str | None:
        """Return a sentence that names the cap which some widths pass, or None."""
        if widths not in self.over:
            counted = None if self.cost is None else self._excess(*self.cost(widths))
            if counted is None and self.slow is not None:
                counted = self.slow(widths)
            self.over[widths] = counted
        return self.over[widths]

    def _excess(self, params: int, macs: int) -> str | None:
        if self.max_params is not None and params > self.max_params:
            return f"{params} parameters would pass max_params {self.max_params}"
        if self.max_macs is not None and macs > self.max_macs:
            return f"{macs} multiply-accumulates would pass max_macs {self.max_macs}"
        return None


def plan(
    widths: Widths,
    due: Sequence[str],
    *,
    ratio: float | Mapping[str, float] = 1.1,
    minimum: int | Mapping[str, int] = 8,
    multiple: int = 1,
    max_width: int | Mapping[str, int] | None = None,
    closed: Mapping[str, str] | None = None,
    together: Sequence[Sequence[str]] = (),
    cost: Cost | None = None,
    max_params: int | None = None,
    max_macs: int | None = None,
    slow: Slow | None = None,
) -> Plan:
    """Return how the due groups are widened within the caps.

    A group of w filters asks for max(w + minimum, ratio w), rounded up to the multiple and cut to
    its greatest width. If all that costs too much, the growth of all due groups is cut by the same
    share, in whole multiples, and what is then left of the caps is given out in the order of `due`,
    to each as much as fits. So no group could take another multiple without passing a cap.

    Args:
        widths: of the network as it is.
        due: groups to widen.
        ratio: factor of growth, 1 or more; a table must name every due group.
        minimum: filters added at least, 1 or more; a table must name every due group.
        multiple: widths after growth are multiples of this, except at a greatest width.
        max_width: greatest width; a table need not name every group.
        closed: group -> why it is never widened.
        together: groups that are widened to one common width, the largest that one of them asks
            for and all of them may have, as soon as one of them is due.
        cost: what the caps on cost are held against; needed with them.
        max_params: greatest number of parameters.
        max_macs: greatest number of multiply-accumulates of one image.
        slow: asked last, about widths that no other cap forbids; those of the plan were allowed.

    Raises:
        ValueError: a setting out of range, an unknown group, or a cap on cost without `cost`.

    Source: docs/method.md, "Growth".
    """
    budget = _Budget(cost=cost, max_params=max_params, max_macs=max_macs, slow=slow)
    never = closed or {}
    _check(
        widths, [*due, *never, *(group for team in together for group in team)], multiple, budget
    )
    refused = [Refusal(group=g, reason=never[g]) for g in dict.fromkeys(due) if g in never]
    wanted: dict[_Unit, int] = {}
    for unit in _units([group for group in due if group not in never], together, never):
        limit = min(
            (most for g in unit if (most := _limit(max_width, g)) is not None), default=None
        )
        asked = [
            _amount(widths[group], _of(ratio, group), _of(minimum, group), multiple)
            for group in unit
        ]
        amount = max(asked) if limit is None else min(max(asked), limit)
        if amount > min(widths[group] for group in unit):
            wanted[unit] = amount
        else:
            refused += [
                Refusal(group=g, reason=f"{widths[g]} filters have reached max_width {limit}")
                for g in unit
            ]
    after = _affordable(widths, wanted, multiple, budget)
    for unit, filters in wanted.items():
        if all(after[group] == widths[group] for group in unit):
            least = _steps(widths, unit, filters, multiple)[1]
            reason = f"at {least} filters, {budget.excess(_at(after, unit, least))}"
            refused += [Refusal(group=group, reason=reason) for group in unit]
    changes = tuple(
        Change(group=group, before=widths[group], after=after[group], wanted=filters)
        for unit, filters in wanted.items()
        for group in unit
        if after[group] > widths[group]
    )
    return Plan(widths=after, changes=changes, refused=tuple(refused))


_Unit = tuple[str, ...]
"""Groups that have one width once they are widened: a single one, or those that grow together."""


def _units(
    due: Sequence[str], together: Sequence[Sequence[str]], closed: Mapping[str, str]
) -> list[_Unit]:
    """Return what is widened as one, in the order of the due groups."""
    units: dict[_Unit, None] = {}
    for group in due:
        team = next((team for team in together if group in team), (group,))
        units[tuple(member for member in team if member not in closed)] = None
    return list(units)


def _at(widths: Widths, unit: _Unit, filters: int) -> Widths:
    """Return the widths with so many filters in the groups of a unit, and never fewer than now."""
    return widths.replaced({group: max(widths[group], filters) for group in unit})


def _affordable(
    widths: Widths, wanted: Mapping[_Unit, int], multiple: int, budget: _Budget
) -> Widths:
    """Return the widths nearest to the wanted ones that the budget allows, by `plan`'s rule."""
    if budget.excess(widths) is not None:
        return widths
    steps = {unit: _steps(widths, unit, filters, multiple) for unit, filters in wanted.items()}

    def cut(share: int) -> Widths:
        after = widths
        for unit, (least, *_, most) in steps.items():
            target = least + (most - least) * share / _SHARES
            after = _at(after, unit, max(step for step in steps[unit] if step <= target))
        return after

    after = cut(_most(lambda share: budget.excess(cut(share)) is None, _SHARES))
    for unit in wanted:
        left = [step for step in steps[unit] if step >= min(after[group] for group in unit)]
        taken = _most(
            lambda step, base=after, unit=unit, left=left: (  # type: ignore[misc] # mypy cannot type a lambda's defaults
                budget.excess(_at(base, unit, left[step])) is None
            ),
            len(left) - 1,
        )
        after = _at(after, unit, left[taken])
    return after


def _most(fits: Callable[[int], bool], greatest: int) -> int:
    """Return the greatest number up to `greatest` that fits; 0 does, and all below it do."""
    low, high = 0, greatest
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _amount(width: int, ratio: float, minimum: int, multiple: int) -> int:
    if not ratio >= 1:
        raise ValueError(f"ratio must be >= 1, got {ratio}")
    if minimum < 1:
        raise ValueError(f"minimum must be >= 1 filter, got {minimum}")
    # 1.1 * 10 is 11.000000000000002: rounding first keeps it 11.
    return _rounded(max(width + minimum, math.ceil(round(ratio * width, 6))), multiple)


def _steps(widths: Widths, unit: _Unit, wanted: int, multiple: int) -> list[int]:
    """Return the widths a unit may take from where it is to the wanted one, both included.

    The first leaves it as it is; every other is common to all its groups.
    """
    narrow, wide = (pick(widths[group] for group in unit) for pick in (min, max))
    first = _above(narrow, multiple) if narrow == wide else _rounded(wide, multiple)
    return [narrow, *range(first, wanted, multiple), wanted]


def _above(width: int, multiple: int) -> int:
    """Return the next multiple above a width."""
    return (width // multiple + 1) * multiple


def _rounded(width: int, multiple: int) -> int:
    return -(-width // multiple) * multiple


def _of(setting: NumberT | Mapping[str, NumberT], group: str) -> NumberT:
    if not isinstance(setting, Mapping):
        return setting
    if group not in setting:
        raise ValueError(f"a table must name every due group, got none for {group!r}")
    return setting[group]


def _limit(max_width: int | Mapping[str, int] | None, group: str) -> int | None:
    return max_width.get(group) if isinstance(max_width, Mapping) else max_width


def _check(widths: Widths, due: Sequence[str], multiple: int, budget: _Budget) -> None:
    for group in due:
        if group not in widths:
            raise ValueError(f"due groups must be among {', '.join(widths)}, got {group!r}")
    if multiple < 1:
        raise ValueError(f"multiple must be >= 1, got {multiple}")
    if budget.cost is None and (budget.max_params is not None or budget.max_macs is not None):
        raise ValueError("cost must be given with max_params or max_macs, got None")
