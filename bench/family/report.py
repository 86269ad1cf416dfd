"""Make tables and plots of the rows: `python -m bench.family.report`.

It writes docs/results/family.md and a PNG and an SVG for every setting beside it. What loses is in
the same tables as what wins.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from bench.family import rows as kept
from bench.family.claims import ALONE, OURS, PRUNED, SEEDS, STRAIGHT, verdicts
from bench.family.methods import TITLES
from bench.family.plot import drawn
from bench.family.rows import Row
from bench.family.stats import Line, Setting, Stat, lines, margins, overtaken, settings

PAGE = Path("docs/results/family.md")
"""Where the tables go."""

MORE = 1.05
"""How much more than three times the compute still counts as that, against ours."""

RACERS = {
    OURS: "all budgets in one run",
    ALONE: "one budget",
    STRAIGHT: "one budget, no station",
}
"""Runs of ours that may be the first to have a rival's accuracy."""

_HEAD = """# One run, a family: accuracy against cost

Made of `{rows}` by `python -m bench.family.report`; the rows are made by
`python -m bench.family` (its `--help` says how). Test accuracy in %, mean ± standard deviation over
seeds (none for one seed). Every run has the same training compute C: 3 x forward for each image
learned from, growth, scores and tuning included. "all of C each" spends C once a budget, so five
times; it is what somebody with one budget does. Seconds are of one core; those with a star are of
another machine than those of ours.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page and the plots."""
    parser = argparse.ArgumentParser(prog="python -m bench.family.report", description=__doc__)
    parser.add_argument("--rows", type=Path, default=kept.FILE, metavar="FILE")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    options = parser.parse_args(argv)
    rows = kept.read(options.rows)
    for setting in settings(rows):
        standard = next(row.standard_macs for row in rows if _setting(row) == setting)
        there = lines(rows, setting, tuple(TITLES))
        drawn(there, title(setting), standard, options.page.parent / stem_of(setting))
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(text(rows, str(options.rows)), encoding="utf-8")
    print(options.page)
    return 0


def text(rows: Sequence[Row], source: str) -> str:
    """Return the page, in Markdown; it names the plots.

    Args:
        rows: what it is made of.
        source: what the page calls the file they come from.
    """
    parts = [_HEAD.format(rows=source)]
    for setting in settings(rows):
        told = title(setting)
        parts += [f"## {told}", f"![{told}]({stem_of(setting)}.png)", *section(rows, setting)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def section(rows: Sequence[Row], setting: Setting) -> list[str]:
    """Return the blocks of Markdown of one setting: accuracies, differences, claims, seconds."""
    dataset, backbone, images, compute = setting
    there = lines(rows, setting, tuple(TITLES))
    tripled = _tripled(rows, setting)
    triple = lines(rows, (dataset, backbone, images, tripled), tuple(TITLES))
    blocks = [accuracies(there)]
    ours = next((line for line in there if line.method == OURS), None)
    if ours is not None and len(there) > 1:
        others = [line for line in there if line is not ours]
        blocks.append(f'How far "{TITLES[OURS]}" is above each other, points; below is bold.')
        blocks.append(differences(ours, others))
    told = verdicts(there, triple, tripled / compute)
    if told:
        blocks.append(
            "\n".join(
                f"- {each.claim}: {'holds' if each.holds else '**does not hold**'}"
                f"{'' if each.seeds >= SEEDS else f', so far, on {each.seeds} of {SEEDS} seeds'}"
                f" ({each.found})"
                for each in told
            )
        )
    if ours is not None:
        blocks += _raced(rows, setting, ours, [line for line in there if line.method in PRUNED])
    return blocks


def _raced(rows: Sequence[Row], setting: Setting, ours: Line, pruned: Sequence[Line]) -> list[str]:
    """Return the blocks about seconds; what was made on different machines is not compared."""
    blocks = []
    alike = [line for line in pruned if line.machines == ours.machines]
    if len(alike) < len(pruned):
        blocks.append(
            "Seconds of what was pruned were taken on another machine than those of ours with the "
            "same compute, and are not compared with them."
        )
    if alike:
        blocks.append("Seconds of one core until the member of a budget is ready:")
        blocks.append(seconds([ours, *alike]))
        blocks.append(
            "The same until ours has, within a budget, the accuracy of what was pruned to it, and "
            "in brackets how many times the rival's seconds that is. That is a run of the same "
            "compute, most of which is spent after it is as accurate:"
        )
        blocks.append(races([ours], alike))
    machines = {line.machines for line in pruned}
    of_any = [
        (method, compute, line)
        for method in RACERS
        for compute, line in _of_any_compute(rows, setting, method).items()
        if line.machines in machines
    ]
    if any(compute != setting[-1] for _, compute, _ in of_any):
        there = {line.machines for *_, line in of_any}
        told_of = "; ".join(
            f"{what}, C = {', '.join(told)} T"
            for method, what in RACERS.items()
            if (told := [f"{compute / 1e12:g}" for name, compute, _ in of_any if name == method])
        )
        blocks.append(
            "Whoever wants that accuracy asks for less compute. The same for the shortest run of "
            f"ours that has it ({told_of}), all on the machine of what was pruned:"
        )
        raced = [line for line in pruned if line.machines in there]
        runs = [line for *_, line in of_any]
        blocks.append(races(runs, raced))
        blocks.append(_verdict_of_races(runs, raced))
    return blocks


def _verdict_of_races(ours: Sequence[Line], rivals: Sequence[Line]) -> str:
    """Return whether ours is as accurate as each rival before it, at every budget."""
    ratios = {
        budget: max(_ratio(overtaken(ours, rival, budget), rival, budget) for rival in rivals)
        for budget in _budgets(rivals)
    }
    held = "holds" if max(ratios.values()) <= 1 else "**does not hold**"
    told = ", ".join(f"{_percent(budget)}: {ratio:.2f}" for budget, ratio in ratios.items())
    return (
        f"- a run of ours is as accurate as 3, pruned, in no more seconds, at every budget: {held} "
        f"(times the rival's seconds, at most, {told})"
    )


def _ratio(taken: float | None, rival: Line, budget: float) -> float:
    """Return how many times a rival's seconds some seconds are; infinite without any."""
    return math.inf if taken is None else taken / rival.points[budget].cpu_seconds


def accuracies(there: Sequence[Line]) -> str:
    """Return the table of accuracies, a method a line, the best of a budget in bold."""
    budgets = _budgets(there)
    best = {
        budget: max(line.points[budget].test.mean for line in there if budget in line.points)
        for budget in budgets
    }
    machines = next((line.machines for line in there if line.method == OURS), None)
    body = [
        [
            TITLES[line.method],
            *(
                _cell(line.points[budget].test, best[budget]) if budget in line.points else ""
                for budget in budgets
            ),
            str(max(point.test.seeds for point in line.points.values())),
            f"{line.spent / 1e12:.2f} T",
            f"{line.cpu_seconds:.0f}{'' if machines in {None, line.machines} else ' *'}",
        ]
        for line in there
    ]
    return _table(["method", *map(_percent, budgets), "seeds", "training MACs", "s"], body)


def differences(ours: Line, others: Sequence[Line]) -> str:
    """Return the table of how far ours is above each other method, and above the best of them."""
    budgets = _budgets([ours])
    body = []
    for title_of, rivals in [(TITLES[line.method], [line]) for line in others] + [
        ("the best of the single runs", [line for line in others if _single(line)])
    ]:
        ahead = margins(ours, rivals)
        cells = [_signed(ahead[budget][0]) if budget in ahead else "" for budget in budgets]
        body.append([title_of, *cells])
    return _table(["above", *map(_percent, budgets)], body)


def seconds(there: Sequence[Line]) -> str:
    """Return the table of seconds, a method a line."""
    budgets = _budgets(there)
    body = [
        [
            TITLES[line.method],
            *(
                _time(line.points[budget].cpu_seconds) if budget in line.points else ""
                for budget in budgets
            ),
        ]
        for line in there
    ]
    return _table(["method", *map(_percent, budgets)], body)


def races(ours: Sequence[Line], rivals: Sequence[Line]) -> str:
    """Return the table of seconds until ours is as accurate as each rival, budget by budget.

    Args:
        ours: runs, each of its own compute; the one that is there first counts.
        rivals: who is raced.
    """
    budgets = _budgets(rivals)
    body = []
    for rival in rivals:
        cells = []
        for budget in budgets:
            taken = overtaken(ours, rival, budget)
            ratio = _ratio(taken, rival, budget)
            cells.append("never" if taken is None else f"{_time(taken)} ({ratio:.2f})")
        body.append([f"as accurate as {TITLES[rival.method]}", *cells])
    return _table(["ours", *map(_percent, budgets)], body)


def title(setting: Setting) -> str:
    """Return what a setting is called."""
    dataset, backbone, images, compute = setting
    return f"{backbone} on {images:,} images of {dataset}, C = {compute / 1e12:g} T"


def stem_of(setting: Setting) -> str:
    """Return the name of a setting's plot, without a suffix."""
    dataset, backbone, images, compute = setting
    return f"family-{dataset}-{backbone}-{images}-{compute // 10**9}G"


def _of_any_compute(rows: Sequence[Row], setting: Setting, method: str) -> dict[int, Line]:
    """Return compute -> a method with it, rising, whatever compute the setting has."""
    *same, _ = setting
    return {
        each[-1]: line
        for each in settings(rows)
        if list(each[:-1]) == same
        for line in lines(rows, each, (method,))
    }


def _tripled(rows: Sequence[Row], setting: Setting) -> int:
    """Return three times a setting's compute, or a little more if there are rows of that."""
    *same, compute = setting
    more = [
        other
        for *alike, other in settings(rows)
        if alike == same and 3 * compute <= other <= MORE * 3 * compute
    ]
    return min(more, default=3 * compute)


def _setting(row: Row) -> Setting:
    return (row.dataset, row.backbone, row.images, row.compute)


def _single(line: Line) -> bool:
    """Tell whether a method makes all members in one run, and is no variant of ours."""
    return not line.method.startswith("ours") and not line.method.endswith("alone")


def _budgets(there: Sequence[Line]) -> list[float]:
    return sorted({budget for line in there for budget in line.points})


def _cell(found: Stat, best: float) -> str:
    said = f"{found.mean:.2f}" if found.spread is None else f"{found.mean:.2f} ± {found.spread:.2f}"
    return f"**{said}**" if found.mean == best else said


def _signed(points: float) -> str:
    said = f"{points:+.2f}"
    return f"**{said}**" if points < 0 else said


def _time(seconds_of: float) -> str:
    return f"{seconds_of:.0f}" if seconds_of >= 10 else f"{seconds_of:.1f}"


def _percent(budget: float) -> str:
    return f"{100 * budget:g} %"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines_of = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines_of)


if __name__ == "__main__":
    raise SystemExit(main())
