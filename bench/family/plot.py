"""Accuracy against cost, a line a method."""

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter

from bench.family.methods import TITLES
from bench.family.stats import Line
from worker.training.pictures.sheet import COLOURS, DPI, png, sheet

_MARKS = ("o", "s", "^", "v", "D", "P", "X")


def drawn(lines: Sequence[Line], title: str, standard_macs: int, stem: Path) -> tuple[Path, Path]:
    """Write a plot as PNG and SVG and return both paths.

    Args:
        lines: the methods.
        title: of the plot.
        standard_macs: multiply-accumulates that count as 100 %.
        stem: path without a suffix or any dot in its name; its folder is made.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = (stem.with_suffix(".png"), stem.with_suffix(".svg"))
    with sheet(10.0 * DPI, 5.0 * DPI) as figure:
        _draw(figure, lines, title, standard_macs)
        files[0].write_bytes(png(figure))
        buffer = io.BytesIO()
        # Without a salt the names of the parts of an SVG are drawn anew each time.
        with rc_context({"svg.hashsalt": stem.name}):
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        text = buffer.getvalue().decode()
        files[1].write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")
    return files


def _draw(figure: Figure, lines: Sequence[Line], title: str, standard_macs: int) -> None:
    axes = figure.add_subplot()
    for index, line in enumerate(lines):
        ours = line.method.startswith("ours")
        points = list(line.points.values())
        axes.errorbar(
            [100 * point.macs / standard_macs for point in points],
            [point.test.mean for point in points],
            yerr=[point.test.spread or 0.0 for point in points],
            label=TITLES[line.method],
            color=COLOURS[index % len(COLOURS)],
            marker=_MARKS[index % len(_MARKS)],
            markersize=4,
            linewidth=2.2 if ours else 1.2,
            linestyle="-" if ours else ("--" if index < len(COLOURS) else ":"),
            capsize=2,
        )
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    ticks = [100 * budget for budget in lines[0].points]
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(PercentFormatter(decimals=0))
    axes.set_xlabel("multiply-accumulates of the standard network")
    axes.set_ylabel("test accuracy, %")
    axes.set_title(title, loc="left")
    axes.grid(visible=True, axis="y")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.subplots_adjust(left=0.06, right=0.6, top=0.93, bottom=0.1)
