"""Rows as they are kept, one line of JSON each, and as they are shown."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.coverage.ours import Row
from bench.coverage.peer import PeerRow

COLUMNS = (
    "model", "px", "dtype", "grow", "start", "fixed", "find s", "shuffled", "widened", "sliced",
    "state", "loaded", "onnx", "MB", "CPU s", "Torch-Pruning", "params", "trains", "its state",
)  # fmt: skip

Kept = Mapping[str, Any]
"""A row as it is in the file."""


def kept(path: Path, row: Row | PeerRow) -> None:
    """Append a row to a file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(row)) + "\n")


def read(path: Path) -> dict[tuple[str, str], Kept]:
    """Return tool and model -> the last row of a file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(row["tool"], row["model"]): row for row in rows}


def line(row: Row | PeerRow) -> str:
    """Return the line of one row, of the tool's columns alone."""
    cells = _ours(asdict(row)) if isinstance(row, Row) else _theirs(asdict(row))
    return f"| {' | '.join([row.model, *cells])} |"


def table(rows: Mapping[tuple[str, str], Kept]) -> str:
    """Return a table, a network a line, ours beside Torch-Pruning's."""
    models = sorted({model for _, model in rows})
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for model in models:
        cells = _ours(rows.get(("slbi", model))) + _theirs(rows.get(("torch-pruning", model)))
        lines.append(f"| {' | '.join([model, *cells])} |")
    return "\n".join(lines)


def summary(rows: Mapping[tuple[str, str], Kept]) -> str:
    """Return what the rows say together, a line a fact, and what failed."""
    ours = [row for (tool, _), row in rows.items() if tool == "slbi"]
    theirs = [row for (tool, _), row in rows.items() if tool == "torch-pruning"]
    lines = []
    if ours:
        through = [row for row in ours if not row["failed"]]
        cpu, onnx, search = (
            _sum(ours, column) for column in ("cpu_seconds", "onnx_cpu_seconds", "find_seconds")
        )
        lines.append(
            f"{len(through)} of {len(ours)} networks, every column, in {cpu:.0f} s of one core "
            f"({onnx:.0f} s for ONNX, {search:.0f} s for the search), "
            f"{_sum(ours, 'seconds'):.0f} s on the clock"
        )
        lines.append(
            f"{_sum(ours, 'grow')} groups grow, {_sum(ours, 'start')} keep the width they start "
            "with"
        )
        for column in ("shuffled", "widened", "sliced"):
            worst = {
                dtype: max((r[column] or 0 for r in ours if r["dtype"] == dtype), default=None)
                for dtype in ("float64", "float32")
            }
            told = (f"{change:.0e} in {d}" for d, change in worst.items() if change is not None)
            lines.append(f"{column}: at most {', '.join(told)}")
        lines.append(f"onnx: at most {max(row['onnx'] or 0 for row in ours):.0e}")
        lines += [f"{row['model']}: {'; '.join(row['failed'])}" for row in ours if row["failed"]]
    if theirs:
        lines.append(_peers(theirs))
    return "\n".join(lines)


def _peers(rows: list[Kept]) -> str:
    through = [row for row in rows if row["failed"] is None]
    known, tensors = _sum(through, "known"), _sum(through, "tensors")
    return (
        f"Torch-Pruning: {len(through)} of {len(rows)} networks; of these "
        f"{sum(bool(row['trains']) for row in through)} give logits and gradients in training, "
        f"{sum(bool(row['stock_loads']) for row in through)} load into the class they came from, "
        f"and their optimizers know {known} of {tensors} tensors"
    )


def _sum(rows: Iterable[Kept], column: str) -> Any:  # noqa: ANN401 -- of a column of numbers
    return sum(row[column] or 0 for row in rows)


def _ours(row: Kept | None) -> list[str]:
    if row is None:
        return ["-"] * 14
    plain = ("px", "dtype", "grow", "start", "fixed", "find_seconds")
    cells = ["-" if row[column] is None else str(row[column]) for column in plain]
    cells += [_change(row[column]) for column in ("shuffled", "widened", "sliced")]
    cells.append("-" if row["known"] is None else f"{row['known']}/{row['tensors']}")
    cells.append({True: "equal", False: "differs", None: "-"}[row["loaded"]])
    return [*cells, _change(row["onnx"]), str(row["peak_mb"] or "-"), str(row["cpu_seconds"])]


def _theirs(row: Kept | None) -> list[str]:
    if row is None:
        return ["-"] * 4
    done = row["failed"] or ("pruned" if row["whole"] else "pruned, of a quarter")
    share = "-"
    if row["params_after"] is not None:
        share = f"{row['params_after'] / row['params_before']:.2f}"
    trains = {True: "yes", False: "no", None: "-"}[row["trains"]]
    state = "-" if row["tensors"] is None else f"{row['known']}/{row['tensors']}"
    return [done.replace("|", "/"), share, trains, state]


def _change(change: float | None) -> str:
    if change is None:
        return "-"
    return f"{change:.0e}" if change else "0"
