"""How answers look on a terminal: tables, numbers, times; and JSON for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

PIPE_WIDTH = 200
"""Columns where no terminal says how many it has; a table cut at 80 would lose its ends."""

MISSING = "-"
"""Stands where there is no value yet."""


def console(*, error: bool = False) -> Console:
    """Return where people read: the standard output, or the standard error."""
    stream = sys.stderr if error else sys.stdout
    return Console(
        file=stream, width=None if stream.isatty() else PIPE_WIDTH, highlight=False, soft_wrap=False
    )


def print_json(value: object) -> None:
    """Print one JSON document, indented."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """Print rows under their columns' names.

    Args:
        columns: Their names.
        rows: A cell a column.
        right: Columns of numbers: they stand to the right, and whole.
        whole: Further columns that no narrow terminal may break, such as ids that people copy.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column in {*right, *whole},
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console().print(table)


def count(value: float | None) -> str:
    """Return a large number as people read it: 950, 12.3 k, 4.56 M."""
    if value is None:
        return MISSING
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:g}"


def share(value: float | None) -> str:
    """Return an accuracy, 0 to 1, in percent."""
    return MISSING if value is None else f"{100 * value:.2f} %"


def duration(seconds: float | None) -> str:
    """Return a time span as `45 s`, `3:07` or `2:03:07`."""
    if seconds is None:
        return MISSING
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def widths(filters: Mapping[str, Any] | None) -> str:
    """Return the filters of every group in order, `8 16 16 32`."""
    return " ".join(str(width) for width in filters.values()) if filters else MISSING
