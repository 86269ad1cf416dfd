"""What all pictures share: colours, type, and how a figure becomes the same bytes every time."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

DPI = 100
"""Pixels an inch: a figure of W x H px is W / DPI inches wide."""

INK = "#222222"
QUIET = "#666666"
LINE = "#cccccc"
EMPTY = "#e6e6e6"
"""Text, secondary text, rules, and the colour of what is not selected or never came."""

ORANGE = "#d55e00"
BLUE = "#0072b2"
"""Selected, and its complement. Source: Okabe and Ito 2008, as `COLOURS`."""

COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", "#e69f00", INK)
"""Told apart with any colour vision. Source: Okabe and Ito 2008, without its pale yellow."""

SEQUENCE = "viridis"
"""Colour map of what has an order, e.g. epochs or depth: dark to bright, also without colour."""

_FONT = "DejaVu Sans"  # matplotlib brings it: the same on every machine

_STYLE: dict[str, Any] = {
    "font.family": _FONT,
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # the name of a layer is no formula
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


@contextmanager
def sheet(width: float, height: float) -> Iterator[Figure]:
    """Give an empty white figure of so many pixels, in the style of this module.

    What a user set in a matplotlibrc does not count, and is as before afterwards.
    """
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        yield figure


def png(figure: Figure) -> bytes:
    """Return a figure of `sheet` as a PNG, to be called within it: the same bytes every time."""
    buffer = io.BytesIO()
    # Without this, matplotlib writes its version into every file.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


@cache
def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return how wide a line of text is, px.

    Args:
        text: one line.
        size: of the type, points.
        bold: in bold type.
    """
    font = FontProperties(family=_FONT, size=size, weight="bold" if bold else "normal")
    # As drawn: hinting makes a line up to 2 % wider than its outlines are.
    with style.context(["default", _STYLE]):
        renderer = RendererAgg(1, 1, DPI)  # type: ignore[no-untyped-call]  # as the next one
        width, _, _ = renderer.get_text_width_height_descent(text, font, ismath=False)  # type: ignore[no-untyped-call]
    return float(width)
