"""In which order filters entered the support, as a strip for each layer."""

from collections.abc import Mapping, Sequence
from math import ceil

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Normalize, to_hex, to_rgb
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from slbi.structure.order import NEVER, EntryOrder
from slbi.structure.path import LayerRecord, StepRecord, unpack
from worker.training.pictures.sheet import EMPTY, QUIET, SEQUENCE, png, sheet, text_width

_ROW = 30  # px of a layer
_WIDE = 720  # px of a strip
_MARGIN = 20  # px around everything
_HEAD = 74  # px above the strips
_SCALE = 76  # px beneath them, with the colours of the epochs
_NUMBER = 6.5  # points of a filter's number in its cell


def first_epochs(layers: Sequence[LayerRecord], steps: Sequence[StepRecord]) -> dict[str, Tensor]:
    """Return, layer by layer, the first epoch of each filter in the support; `NEVER` if none.

    A path keeps no bits of layers whose single weights enter: they are left out.

    Args:
        layers: of the path.
        steps: of the path, in order.

    Raises:
        ValueError: a layer has fewer filters than a step before.
    """
    names = {layer.index: layer.name for layer in layers if layer.structure == "filter"}
    order = EntryOrder()
    for step in steps:
        supports = {
            names[s.layer]: unpack(s.bits, s.n_filters) for s in step.support if s.layer in names
        }
        order.update(step.epoch, supports)
    return order.state_dict()


def entry_order(
    entries: Mapping[str, Sequence[int] | Tensor], *, title: str = "Entry into the support"
) -> bytes:
    """Return a picture with a strip for each layer: a cell a filter, in order of entry.

    The colour of a cell is the epoch in which its filter was first in the support; what never was
    is grey, at the right. Filters of one epoch stand by their number, which is written in the
    cell where it fits.

    Args:
        entries: layer -> (O,), the first epoch of each filter, `NEVER` where there is none, as by
            `first_epochs` or `EntryOrder.entry`.
        title: of the picture.

    Raises:
        ValueError: there is no layer, or one has no filter.
    """
    strips = {name: _epochs(name, epochs) for name, epochs in entries.items()}
    if not strips:
        raise ValueError("entries must hold one layer or more, got none")
    came = [epoch for epochs in strips.values() for epoch in epochs if epoch != NEVER]
    told = [
        f"{sum(epoch != NEVER for epoch in epochs)} of {len(epochs)}" for epochs in strips.values()
    ]
    count = sum(len(epochs) for epochs in strips.values())
    summary = f"{len(came)} of {count} filters entered; cells from left to right in order of entry"
    left = _MARGIN + ceil(max(text_width(name, 9) for name in strips)) + 10
    right = 10 + ceil(max(text_width(text, 9) for text in told)) + _MARGIN
    width = max(left + _WIDE + right, 2 * _MARGIN + ceil(text_width(title, 12, bold=True)))
    height = _HEAD + _ROW * len(strips) + _SCALE
    colours = _colours(came)
    with sheet(width, height) as figure:
        figure.text(_MARGIN / width, 1 - 28 / height, title, size=12, weight="bold", va="center")
        figure.text(_MARGIN / width, 1 - 50 / height, summary, color=QUIET, va="center")
        axes = figure.add_axes(
            (left / width, _SCALE / height, _WIDE / width, _ROW * len(strips) / height)
        )
        for row, epochs in enumerate(strips.values()):
            _strip(axes, row, epochs, colours)
        _label(axes, list(strips), told)
        if came:
            bar = figure.add_axes((left / width, 40 / height, 300 / width, 10 / height))
            ticks = MaxNLocator(integer=True, nbins=8, min_n_ticks=1)
            scale = figure.colorbar(colours, cax=bar, orientation="horizontal", ticks=ticks)
            scale.set_label("first epoch in the support", size=8)
            scale.outline.set_visible(False)
            scale.ax.tick_params(labelsize=8, length=2)
            scale.ax.minorticks_off()
        figure.legend(
            handles=[Patch(facecolor=EMPTY, label="not in the support so far")],
            loc="center left",
            bbox_to_anchor=((left + 330 * bool(came)) / width, 45 / height),
            fontsize=8,
            borderpad=0,
            borderaxespad=0,
        )
        return png(figure)


def _epochs(name: str, epochs: Sequence[int] | Tensor) -> list[int]:
    values = torch.as_tensor(epochs)
    if values.ndim != 1 or not len(values):
        raise ValueError(
            f"entries of {name!r} must be (O,) with a filter or more, got {tuple(values.shape)}"
        )
    return [int(epoch) for epoch in values.tolist()]


def _colours(came: Sequence[int]) -> ScalarMappable:
    """Return the colours of the epochs: a step each where they are few."""
    first, last = min(came, default=0), max(came, default=0)
    if last - first < 24:
        levels = [epoch - 0.5 for epoch in range(first, last + 2)]
        norm: Normalize = BoundaryNorm(levels, 256) if last > first else Normalize(first, first + 1)
    else:
        norm = Normalize(first, last)
    return ScalarMappable(norm, mpl.colormaps[SEQUENCE])


def _strip(axes: Axes, row: int, epochs: Sequence[int], colours: ScalarMappable) -> None:
    """Draw one layer."""
    count = len(epochs)
    order = sorted(range(count), key=lambda i: (epochs[i] == NEVER, epochs[i], i))
    cell = _WIDE / count  # px
    colour = {epoch: to_hex(colours.to_rgba(np.array([epoch]))[0]) for epoch in set(epochs)}
    faces = [EMPTY if epochs[i] == NEVER else colour[epochs[i]] for i in order]
    axes.barh(
        [row] * count,
        [1 / count] * count,
        left=[place / count for place in range(count)],
        height=0.74,
        color=faces,
        edgecolor="white",
        linewidth=0.8 if cell >= 6 else 0,
    )
    if cell < text_width(str(count - 1), _NUMBER) + 5:
        return
    for place, filter_ in enumerate(order):
        axes.text(
            (place + 0.5) / count,
            row,
            str(filter_),
            size=_NUMBER,
            color=_readable(faces[place]),
            ha="center",
            va="center_baseline",
        )


def _readable(face: str) -> str:
    """Return black or white, whichever stands out."""
    red, green, blue = to_rgb(face)
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"  # Rec. 601


def _label(axes: Axes, names: Sequence[str], told: Sequence[str]) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    for row, text in enumerate(told):
        axes.annotate(
            text, (1, row), xytext=(7, 0), textcoords="offset points", va="center_baseline"
        )
