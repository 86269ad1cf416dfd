"""The structure path as text: a line a layer, a column an epoch, a mark where it was widened."""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.cli.output import console

LEVELS = "▁▂▃▄▅▆▇█"
"""Heights of a share, from none to all."""

WIDENED = "┊"
"""Stands between the last epoch before a widening and the first after it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One line of the chart."""

    name: str
    note: str
    """What stands between the name and the curve, e.g. the filters a layer had, `8→16→24`."""
    shares: Sequence[float]
    """One an epoch, 0 to 1."""
    widened: Collection[int] = ()
    """Epochs, from 0, at whose end the layer was widened."""


def chart(curves: Sequence[Curve], width: int = 100) -> list[str]:
    """Return a line for each curve, with its last share at the end; epochs stand in one column.

    Args:
        curves: All of the same number of epochs, 1 or more.
        width: Columns at most; where there are more epochs, several share a column, the last shown.
    """
    label = max(len(curve.name) for curve in curves)
    note = max(len(curve.note) for curve in curves)
    marked = sorted({epoch for curve in curves for epoch in curve.widened})
    room = max(8, width - label - note - len(" ") * 5 - len("0.00") - len(marked))
    ends = _columns(len(curves[0].shares), room)
    return [
        f"{curve.name:<{label}}  {curve.note:<{note}}  {_line(curve, ends, marked)}"
        f"  {curve.shares[-1]:.2f}"
        for curve in curves
    ]


def print_path(path: Mapping[str, Any]) -> None:
    """Print what the answer of GET /v1/jobs/{id}/path draws, as wide as there is room."""
    screen = console()
    for line in chart(curves_of(path), screen.width):
        screen.print(line, markup=False, no_wrap=True)


def curves_of(path: Mapping[str, Any]) -> list[Curve]:
    """Return what the answer of GET /v1/jobs/{id}/path draws: its layers, then the accuracy."""
    points = path["steps"]
    steps = [int(point["step"]) for point in points]
    curves = []
    for layer in path["layers"]:
        growth = [row for row in path["growth"] if row["layer"] == layer["layer"]]
        curves.append(
            Curve(
                name=layer["name"],
                note=_history(layer, growth),
                shares=[
                    active / filters
                    for active, filters in zip(layer["n_active"], layer["n_filters"], strict=True)
                ],
                widened=[bisect_right(steps, row["step"]) - 1 for row in growth],
            )
        )
    accuracies = [float(point["validation_accuracy"]) for point in points]
    return [*curves, Curve(name="accuracy", note="", shares=accuracies)]


def _history(layer: Mapping[str, Any], growth: Sequence[Mapping[str, Any]]) -> str:
    widths = [row["before"] for row in growth] or [layer["n_filters"][-1]]
    return "→".join(str(width) for width in [*widths, *(row["after"] for row in growth[-1:])])


def _columns(epochs: int, room: int) -> list[int]:
    """Return the last epoch of each column."""
    share = -(-epochs // room)
    return [min(first + share, epochs) - 1 for first in range(0, epochs, share)]


def _line(curve: Curve, ends: Sequence[int], marked: Sequence[int]) -> str:
    cells, shown = [], -1
    for end in ends:
        cells.append(_level(curve.shares[end]))
        inside = [epoch for epoch in marked if shown < epoch <= end]
        if inside:
            cells.append(WIDENED if any(epoch in curve.widened for epoch in inside) else " ")
        shown = end
    return "".join(cells)


def _level(share: float) -> str:
    return LEVELS[min(int(share * len(LEVELS)), len(LEVELS) - 1)]
