"""Make the page of the rows: `python -m bench.health.report`. It writes docs/results/health.md."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.health import rows as kept
from bench.health.births import SHARE, WINDOW
from bench.health.claims import (
    APART,
    DEAD,
    LEARN,
    RUNS,
    WAY,
    Agreement,
    Learning,
    agreements,
    behind,
    beyond,
    learning,
    living,
    paired,
    ways,
)
from bench.health.dead import READ
from bench.health.rows import RecipeRow, Row, TrunkRow

PAGE = Path("docs/results/health.md")
"""Where the tables go."""

GROWTH = {"rounds": "by rounds", "targets": "toward targets"}
"""Mode -> what a page calls it."""

MOST = 4
"""Layers that a cell names at most."""

_COUNTS = ("seeds", "grown", "reached", "at once", "all along", "least steps", "not watched")

_HEAD = """# Whether growth is healthy

Made of `{rows}` by `python -m bench.health.report`; the rows are made by `python -m bench.health`
(its `--help` says how), {seconds:.0f} s of one core together. Trunks are those of
`python -m bench.family`, all layers alike; "pairs" is what growth toward targets does, new filters
in cancelling pairs and twins that pull a tenth; "random" is the same with random filters that
nothing reads at first. A filter is one slice of a weight, a layer is that weight.
"""

_LEARN = f"""## Do grown filters learn

A filter's gradient norm is the norm of the loss's gradient over its slice, averaged over {WINDOW}
steps in a row, relative to the median of the same average over all filters that its layer had when
it was born. It has reached its layer if that is {SHARE} or more in one of the windows of the first
epoch after its birth; a network that was done earlier gives less
than an epoch. "At once" is the first window, "all along" one window of all steps watched. "Left
over" is the last of an odd number: equal to a pair, a copy of an old filter, or read by nothing.
"""

_DEAD = f"""## Are filters dead

Of the annealed member of every budget, over the whole validation split. A filter is constant if at
every position it has one value for all images, behind its own norm or, after activation and
pooling, in the inputs of all layers that read it; zero is a constant. It is unread if no layer
reads it through weights of a norm above {READ:g}, shortcuts followed. Dead is either.
"""

_WIDTHS = """## Do final widths agree

Runs of the recipe `grow` on digits that differ in seed and start width alone. Apart is the largest
width of a group less its least, relative to the mean; the group is the one that is the furthest
apart. "By seed" is the furthest apart that seeds are at one start, "by start" the furthest that
means over seeds are. "grown" and "support" are the tuned networks of a run by rounds, "target" that
of a target.
"""

_ENDS = """## Do runs end by themselves, within their caps

Runs of the recipe `grow` on digits, each with its seed. Every member of a family is held against
every cap, those of a trunk against the target that they are on the way to.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.health.report", description=__doc__)
    parser.add_argument("--rows", type=Path, default=kept.FILE, metavar="FILE")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    options = parser.parse_args(argv)
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(text(kept.read(options.rows), str(options.rows)), encoding="utf-8")
    print(options.page)
    return 0


def text(rows: Sequence[Row], source: str) -> str:
    """Return the page, in Markdown; of parts without rows it says nothing.

    Args:
        rows: what it is made of.
        source: what the page calls the file they come from.
    """
    trunks = kept.trunks(rows)
    agreed = agreements(kept.recipes(rows, "widths"))
    ends = kept.recipes(rows, "ends")
    seconds = sum(row.cpu_seconds for row in rows)
    parts = [_HEAD.format(rows=source, seconds=seconds), verdicts(trunks, agreed, ends)]
    if trunks:
        parts += [_LEARN, learned(trunks), lagging(trunks), _DEAD, died(trunks)]
    if agreed:
        parts += [_WIDTHS, widths(agreed)]
    if ends:
        parts += [_ENDS, ended(ends)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def verdicts(
    trunks: Sequence[TrunkRow], agreed: Sequence[Agreement], ends: Sequence[RecipeRow]
) -> str:
    """Return what must hold, whether it does, and the figures."""
    lines = []
    ours = {backbone: rows for (way, backbone), rows in ways(trunks).items() if way == WAY}
    if ours:
        shares = {backbone: learning(rows).share for backbone, rows in ours.items()}
        lines.append(
            _verdict(
                f"{_percent(LEARN)} or more of the grown filters reach {SHARE} of their layer's "
                "median gradient norm within an epoch",
                _told(shares),
                holds=min(shares.values()) >= LEARN,
            )
        )
        shares = {
            backbone: max(budget.share for budget in living(rows))
            for backbone, rows in ours.items()
        }
        lines.append(
            _verdict(
                f"fewer than {_percent(DEAD)} of the filters of every member are dead",
                f"most at a budget: {_told(shares)}",
                holds=max(shares.values()) < DEAD,
            )
        )
    for mode in dict.fromkeys(each.mode for each in agreed):
        final = [each for each in agreed if each.mode == mode and each.final]
        shares = {f"{each.backbone} {each.name}": each.apart for each in final}
        lines.append(
            _verdict(
                f"final widths are at most {_percent(APART)} apart over seeds and start widths, "
                f"growth {GROWTH[mode]}",
                f"{_told(shares)}; multiply-accumulates at most "
                f"{_percent(max(each.macs_apart for each in final))}",
                holds=max(shares.values()) <= APART,
            )
        )
    if ends:
        good = sum(not beyond(row) for row in ends)
        lines.append(
            _verdict(
                f"{RUNS} of {RUNS} runs end by themselves within their caps",
                f"{good} of {len(ends)}",
                holds=good == len(ends) == RUNS,
            )
        )
    return "\n".join(lines)


def learned(trunks: Sequence[TrunkRow]) -> str:
    """Return the table of what new filters learned."""
    body = []
    for (way, backbone), rows in ways(trunks).items():
        body.append([way, backbone, "all", *_learning(learning(rows))])
        if way == WAY:
            body += [
                [way, backbone, which, *_learning(found)] for which, found in paired(rows).items()
            ]
    return _table(["new filters", "backbone", "which", *_COUNTS], body)


def lagging(trunks: Sequence[TrunkRow]) -> str:
    """Return the table of the layers in which not all new filters reached."""
    body = [
        [way, backbone, _code(layer), *_learning(found)]
        for (way, backbone), rows in ways(trunks).items()
        for layer, found in behind(rows).items()
    ]
    if not body:
        return "In every layer all new filters reached."
    table = _table(["new filters", "backbone", "layer", *_COUNTS], body)
    return f"Layers in which not all of them did:\n\n{table}"


def died(trunks: Sequence[TrunkRow]) -> str:
    """Return the table of dead filters, budget by budget."""
    body = [
        [
            way,
            backbone,
            f"{100 * budget.budget:g} %",
            str(budget.seeds),
            str(budget.filters),
            str(budget.constant),
            str(budget.unread),
            _bold(_percent(budget.share), plain=budget.share < DEAD),
            _where(budget.where),
        ]
        for (way, backbone), rows in ways(trunks).items()
        for budget in living(rows)
    ]
    head = ["new filters", "backbone", "budget", "seeds", "filters", "constant", "unread", "dead"]
    return _table([*head, "where"], body)


def widths(agreed: Sequence[Agreement]) -> str:
    """Return the table of how far final widths are apart."""
    body = [
        [
            GROWTH[each.mode],
            each.backbone,
            f"{each.name}, {each.network}",
            ", ".join(map(str, each.starts)),
            str(each.runs),
            each.group,
            f"{each.least} to {each.most}",
            _bold(_percent(each.apart), plain=each.apart <= APART),
            _percent(each.by_seed),
            _percent(each.by_start),
            _percent(each.macs_apart),
        ]
        for each in agreed
    ]
    head = ["growth", "backbone", "network", "starts", "runs", "group", "filters", "apart"]
    return _table([*head, "by seed", "by start", "MACs apart"], body)


def ended(ends: Sequence[RecipeRow]) -> str:
    """Return the table of how runs ended."""
    body = [
        [
            row.name,
            row.backbone,
            str(row.seed),
            str(row.rounds),
            str(row.growth_epochs),
            str(len(row.members)),
            _short(row.end),
            "; ".join(beyond(row)) or "yes",
        ]
        for row in ends
    ]
    head = ["caps", "backbone", "seed", "rounds", "epochs of growth", "members", "it ended because"]
    return _table([*head, "within its caps"], body)


def _verdict(claim: str, found: str, *, holds: bool) -> str:
    return f"- {claim}: {'holds' if holds else '**does not hold**'} ({found})"


def _told(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {_percent(share)}" for name, share in shares.items())


def _learning(found: Learning) -> list[str]:
    seen = found.filters - found.unseen
    counts = (found.reached, found.first, found.mean)
    cells = [_percent(count / seen) if seen else "" for count in counts]
    cells[0] = _bold(cells[0], plain=found.share >= LEARN)
    return [str(found.seeds), str(found.filters), *cells, str(found.steps), str(found.unseen)]


def _where(where: Mapping[str, int]) -> str:
    told = [f"{_code(layer)} {count}" for layer, count in list(where.items())[:MOST]]
    return ", ".join(told) + (", ..." if len(where) > MOST else "")


def _short(end: str) -> str:
    """Return a reason, of several the first."""
    first, *more = end.split("; ")
    return f"{first}; and {len(more)} more" if more else first


def _code(name: str) -> str:
    return f"`{name.removesuffix('.weight')}`"


def _bold(told: str, *, plain: bool) -> str:
    return told if plain else f"**{told}**"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %".replace(".0 %", " %")


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
