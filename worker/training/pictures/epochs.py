"""The support of every layer over the epochs of a run, as lines."""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal, get_args

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from slbi.structure.path import GrowthRecord, LayerRecord, Phase, StepRecord
from worker.training.pictures.sheet import (
    COLOURS,
    EMPTY,
    QUIET,
    SEQUENCE,
    png,
    sheet,
    text_width,
)

Measure = Literal["share", "number"]
"""What of the filters in the support is drawn."""

_PHASES: Mapping[Phase, str] = {"grow": "growth", "tune": "tuning", "prune": "pruned"}
"""What phases are called on a picture, where that is not their own name."""

_DASHES = ("-", "--", ":")
_MARKS = ("o", "s", "^", "D", "v", "P", "X")

_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 20, 88, 56  # px around the axes
_WIDE = 640  # px of the axes
_HIGH = 320  # px of the axes at least
_ENTRY = 21  # px of a line of the legend
_COLUMN = 24  # lines of the legend before it gets another column


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """One layer over the epochs."""

    name: str
    epochs: list[int]
    values: list[float]
    widened: list[tuple[int, float]]
    """Epoch at whose end it was widened, and its value then."""


def support_over_epochs(
    layers: Sequence[LayerRecord],
    steps: Sequence[StepRecord],
    growth: Sequence[GrowthRecord] = (),
    *,
    measure: Measure = "share",
    title: str = "Support over epochs",
) -> bytes:
    """Return a picture with a line for each layer: its filters in the support after every epoch.

    A layer that was widened has a tick on its line, and its epoch a thin rule.

    Args:
        layers: of the path.
        steps: of the path, in order, one or more.
        growth: of the path.
        measure: the share of a layer's filters, or their number.
        title: of the picture.

    Raises:
        ValueError: there is no layer or no step, or `measure` is unknown.
    """
    if measure not in get_args(Measure):
        raise ValueError(f"measure must be one of {', '.join(get_args(Measure))}, got {measure!r}")
    if not layers or not steps:
        raise ValueError(
            f"a path must have layers and steps, got {len(layers)} layers, {len(steps)} steps"
        )
    lines = [_line(layer, steps, growth, measure) for layer in layers]
    columns = ceil(len(lines) / _COLUMN)
    rows = ceil(len(lines) / columns)
    name_width = ceil(max(text_width(line.name, 9) for line in lines)) + 60
    told = _told(steps, growth, measure)
    high = max(_HIGH, rows * _ENTRY)
    width = max(
        _LEFT + _WIDE + _RIGHT + columns * name_width,
        2 * _RIGHT + ceil(max(text_width(title, 12, bold=True), text_width(told, 9))),
    )
    height = _TOP + high + _BOTTOM
    with sheet(width, height) as figure:
        figure.text(_RIGHT / width, 1 - 26 / height, title, size=12, weight="bold", va="center")
        figure.text(_RIGHT / width, 1 - 47 / height, told, color=QUIET, va="center")
        axes = figure.add_axes((_LEFT / width, _BOTTOM / height, _WIDE / width, high / height))
        _rule(axes, steps, lines)
        handles = [_plot(axes, line, index, len(lines)) for index, line in enumerate(lines)]
        _scale(axes, steps, measure)
        axes.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(1 + 14 / _WIDE, 1),
            borderaxespad=0,
            borderpad=0,
            ncols=columns,
            handlelength=2.4,
            columnspacing=1.2,
            labelspacing=0.5,
        )
        return png(figure)


def _line(
    layer: LayerRecord,
    steps: Sequence[StepRecord],
    growth: Sequence[GrowthRecord],
    measure: Measure,
) -> _Line:
    epochs, values = [], []
    for step in steps:
        support = next((s for s in step.support if s.layer == layer.index), None)
        if support is not None:
            epochs.append(step.epoch)
            whole = support.n_filters if measure == "share" else 1
            values.append(support.n_active / whole)
    taken = [step.step for step in steps]
    widened = []
    for grown in growth:
        at = bisect.bisect_right(taken, grown.step) - 1
        if grown.layer == layer.index and at >= 0 and steps[at].epoch in epochs:
            epoch = steps[at].epoch
            widened.append((epoch, values[epochs.index(epoch)]))
    return _Line(name=layer.name, epochs=epochs, values=values, widened=widened)


def _plot(axes: Axes, line: _Line, index: int, count: int) -> Line2D:
    """Draw one layer and return its entry of the legend."""
    few = count <= len(COLOURS)
    if count <= len(COLOURS) * len(_DASHES):
        colour = COLOURS[index % len(COLOURS)]
        dash = _DASHES[index // len(COLOURS)]
    else:  # too many for single colours: dark to bright with the depth
        colour = to_hex(mpl.colormaps[SEQUENCE](0.92 * index / (count - 1)))
        dash = _DASHES[index % len(_DASHES)]
    # What is drawn first is thicker, so that a line beneath another one shows at its sides.
    extra = 1.8 * (1 - index / count) if few else 0
    (drawn,) = axes.plot(
        line.epochs,
        line.values,
        color=colour,
        linewidth=1.3 + extra,
        linestyle=dash,
        marker=_MARKS[index] if few or len(line.epochs) == 1 else None,
        markersize=3.5 + extra,
        markevery=max(1, len(line.epochs) // 12),
        label=line.name,
        clip_on=False,
        zorder=3,
    )
    for epoch, value in line.widened:
        axes.plot(
            [epoch],
            [value],
            color=colour,
            marker="|",
            markersize=14 + 4 * extra,
            markeredgewidth=1.8 + extra / 2,
            clip_on=False,
            zorder=4,
        )
    return drawn


def _rule(axes: Axes, steps: Sequence[StepRecord], lines: Sequence[_Line]) -> None:
    """Rule off the epochs of widenings, and shade and name the phases."""
    for epoch in sorted({epoch for line in lines for epoch, _ in line.widened}):
        axes.axvline(epoch, color=QUIET, linewidth=0.7, linestyle=(0, (1, 2)), zorder=1)
    spans = _spans(steps)
    if len(spans) == 1:
        return
    epochs = steps[-1].epoch - steps[0].epoch + 1
    for index, (phase, first, last) in enumerate(spans):
        shade = 0.9 * index / (len(spans) - 1)
        axes.axvspan(first - 0.5, last + 0.5, color=EMPTY, alpha=shade, linewidth=0, zorder=0)
        name = _PHASES.get(phase, phase)
        if text_width(name, 8) > _WIDE * (last - first + 1) / epochs:
            continue  # no room between its neighbours
        axes.annotate(
            name,
            ((first + last) / 2, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 11),
            textcoords="offset points",
            ha="center",
            va="bottom",
            size=8,
            color=QUIET,
        )


def _spans(steps: Sequence[StepRecord]) -> list[tuple[Phase, int, int]]:
    """Return each phase with its first and last epoch."""
    spans: list[tuple[Phase, int, int]] = []
    for step in steps:
        if spans and spans[-1][0] == step.phase:
            spans[-1] = (step.phase, spans[-1][1], step.epoch)
        else:
            spans.append((step.phase, step.epoch, step.epoch))
    return spans


def _scale(axes: Axes, steps: Sequence[StepRecord], measure: Measure) -> None:
    axes.set_xlim(steps[0].epoch - 0.5, steps[-1].epoch + 0.5)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="y")
    if measure == "share":
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _told(steps: Sequence[StepRecord], growth: Sequence[GrowthRecord], measure: Measure) -> str:
    what = "share of each layer's filters" if measure == "share" else "filters of each layer"
    widened = f"{len(growth)} widening{'s' * (len(growth) != 1)} (ticks)" if growth else ""
    parts = (f"{len(steps)} epoch{'s' * (len(steps) != 1)}", widened or "no layer widened")
    return f"{what.capitalize()} in the support; {', '.join(parts)}"
