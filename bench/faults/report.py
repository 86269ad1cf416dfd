"""Rows as people and programs read them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.faults.fault import Row

HEADER = ("fault", "where", "times", "violations", "measured", "s")

SHOWN = 8
"""Violations of a row that are printed; the file has all."""


def line(row: Row) -> str:
    """Return a row for a terminal."""
    took = f"{row.seconds:4.0f} s"
    return f"{row.key:34} {row.times:6} {verdict(row):>12} {took}  {_measured(row.measured)}"


def verdict(row: Row) -> str:
    """Return the number of violations, or that there was no trial."""
    return "not run" if row.not_run else str(len(row.violations))


def shortened(sentences: Sequence[str]) -> list[str]:
    """Return the first few, and how many more there are."""
    more = len(sentences) - SHOWN
    return [*sentences[:SHOWN], *([f"… and {more} more"] if more > 0 else [])]


def markdown(rows: Sequence[Row]) -> str:
    """Return the table as docs/reliability.md has it."""
    lines = [HEADER, ("---",) * len(HEADER)]
    for row in rows:
        measured = row.not_run or _measured(row.measured)
        times, seconds = f"{row.times:,}", f"{row.seconds:.0f}"
        lines.append((row.fault, row.arrangement, times, verdict(row), measured, seconds))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(rows: Sequence[Row], path: Path) -> None:
    """Write a line of JSON for each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(asdict(row), sort_keys=True) for row in rows)
    path.write_text("".join(f"{text}\n" for text in lines), encoding="utf-8")


def _measured(values: Mapping[str, float]) -> str:
    """Return names and values, a median and a maximum of one name together."""
    told = []
    for name, value in values.items():
        base, _, kind = name.rpartition(" ")
        if kind == "median" and f"{base} max" in values:
            told.append(f"{base} {_short(value)} (max {_short(values[f'{base} max'])})")
        elif kind != "max" or f"{base} median" not in values:
            told.append(f"{name} {_short(value)}")
    return ", ".join(told)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}"
