"""How much of each layer is kept, as bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from slbi.structure.path import LayerRecord, StepRecord
from worker.training.pictures.sheet import BLUE, EMPTY, INK, QUIET, png, sheet, text_width

_ROW = 24  # px of a layer
_BARS = 460  # px of a bar that is full
_MARGIN = 20  # px around everything
_HEAD = 72  # px above the bars
_AXIS = 44  # px beneath them


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What is left of one layer."""

    name: str
    kept: int
    """Filters (or entries) kept."""
    total: int
    """Filters (or entries) there were, 1 or more."""

    def __post_init__(self) -> None:
        if not 0 <= self.kept <= self.total or self.total < 1:
            raise ValueError(
                f"kept of {self.name!r} must be in 0 to its total, 1 or more, "
                f"got {self.kept} of {self.total}"
            )


def kept_at(layers: Sequence[LayerRecord], step: StepRecord) -> tuple[Kept, ...]:
    """Return how much of each layer is in the support at one point of a path."""
    names = {layer.index: layer.name for layer in layers}
    return tuple(
        Kept(name=names[support.layer], kept=support.n_active, total=support.n_filters)
        for support in step.support
    )


def kept_shares(
    layers: Sequence[Kept], *, title: str = "Kept share per layer", unit: str = "filters"
) -> bytes:
    """Return a picture with a bar for each layer, from the first down, and its numbers beside it.

    Args:
        layers: in the order of the data.
        title: of the picture.
        unit: what is counted, e.g. filters, entries.

    Raises:
        ValueError: there is no layer.
    """
    if not layers:
        raise ValueError("layers must hold one layer or more, got none")
    kept, total = sum(layer.kept for layer in layers), sum(layer.total for layer in layers)
    told = f"{kept:,} of {total:,} {unit} kept, {_percent(kept, total)}"
    numbers = [
        f"{_percent(layer.kept, layer.total)}   {layer.kept:,} of {layer.total:,}"
        for layer in layers
    ]
    left = _MARGIN + ceil(max(text_width(layer.name, 9) for layer in layers)) + 10
    right = ceil(max(text_width(text, 9) for text in numbers)) + 10 + _MARGIN
    width = max(
        left + _BARS + right,
        2 * _MARGIN + ceil(max(text_width(title, 12, bold=True), text_width(told, 9))),
    )
    height = _HEAD + _ROW * len(layers) + _AXIS
    with sheet(width, height) as figure:
        figure.text(_MARGIN / width, 1 - 28 / height, title, size=12, weight="bold", va="center")
        figure.text(_MARGIN / width, 1 - 50 / height, told, color=QUIET, va="center")
        box = (left / width, _AXIS / height, _BARS / width, _ROW * len(layers) / height)
        _bars(figure, box, layers, numbers)
        return png(figure)


def _bars(
    figure: Figure,
    box: tuple[float, float, float, float],
    layers: Sequence[Kept],
    numbers: Sequence[str],
) -> None:
    axes = figure.add_axes(box)
    rows = range(len(layers))
    axes.barh(rows, [1.0] * len(layers), height=0.68, color=EMPTY)
    axes.barh(rows, [layer.kept / layer.total for layer in layers], height=0.68, color=BLUE)
    for row, text in zip(rows, numbers, strict=True):
        axes.annotate(
            text,
            (1, row),
            xytext=(7, 0),
            textcoords="offset points",
            va="center_baseline",
            color=INK,
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.set_yticks(rows, [layer.name for layer in layers])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.spines["left"].set_visible(False)


def _percent(part: int, whole: int) -> str:
    """Return a share with three figures where it is small, so that 0.04 % is not told as 0."""
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.2g} %"
