"""Which groups are widened, and by how much, within the caps."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from slbi.nets.widths import Widths

Cost = Callable[[Widths], tuple[int, int]]
"""Returns parameters and multiply-accumulates of the network with some widths; grows with each."""

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
    over: dict[Widths, str | None] = field(default_factory=dict)

    def excess(self, widths: Widths) -> str | None:
        """Return a sentence that names the cap which some widths pass, or None."""
        if self.cost is None:
            return None
        if widths not in self.over:
            self.over[widths] = self._excess(*self.cost(widths))
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
    cost: Cost | None = None,
    max_params: int | None = None,
    max_macs: int | None = None,
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
        cost: what the caps on cost are held against; needed with them.
        max_params: greatest number of parameters.
        max_macs: greatest number of multiply-accumulates of one image.

    Raises:
        ValueError: a setting out of range, an unknown group, or a cap on cost without `cost`.

    Source: docs/method.md, "Growth".
    """
    budget = _Budget(cost=cost, max_params=max_params, max_macs=max_macs)
    _check(widths, due, multiple, budget)
    wanted, refused = {}, []
    for group in dict.fromkeys(due):
        before, limit = widths[group], _limit(max_width, group)
        amount = _amount(before, _of(ratio, group), _of(minimum, group), multiple)
        if limit is not None and before >= limit:
            reason = f"{before} filters have reached max_width {limit}"
            refused.append(Refusal(group=group, reason=reason))
        else:
            wanted[group] = amount if limit is None else min(amount, limit)
    after = _affordable(widths, wanted, multiple, budget)
    for group, filters in wanted.items():
        if after[group] == widths[group]:
            least = min(_above(widths[group], multiple), filters)
            reason = f"at {least} filters, {budget.excess(after.replaced({group: least}))}"
            refused.append(Refusal(group=group, reason=reason))
    changes = tuple(
        Change(group=group, before=widths[group], after=after[group], wanted=filters)
        for group, filters in wanted.items()
        if after[group] > widths[group]
    )
    return Plan(widths=after, changes=changes, refused=tuple(refused))


def _affordable(
    widths: Widths, wanted: Mapping[str, int], multiple: int, budget: _Budget
) -> Widths:
    """Return the widths nearest to the wanted ones that the budget allows, by `plan`'s rule."""
    if budget.excess(widths) is not None:
        return widths

    def cut(share: int) -> Widths:
        return widths.replaced(
            {
                group: _floored(widths[group], filters, share / _SHARES, multiple)
                for group, filters in wanted.items()
            }
        )

    after = cut(_most(lambda share: budget.excess(cut(share)) is None, _SHARES))
    for group, filters in wanted.items():
        steps = _steps(after[group], filters, multiple)
        taken = _most(
            lambda step, base=after, group=group, steps=steps: (  # type: ignore[misc] # mypy cannot type a lambda's defaults
                budget.excess(base.replaced({group: steps[step]})) is None
            ),
            len(steps) - 1,
        )
        after = after.replaced({group: steps[taken]})
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


def _floored(width: int, wanted: int, share: float, multiple: int) -> int:
    """Return a width a share of the way to the wanted one, on a multiple or where it was."""
    if share == 1:
        return wanted
    target = width + int((wanted - width) * share)
    return max(width, target // multiple * multiple)


def _steps(width: int, wanted: int, multiple: int) -> list[int]:
    """Return the widths a group may take from here to the wanted one, both included."""
    return [width, *range(_above(width, multiple), wanted, multiple), wanted]


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
