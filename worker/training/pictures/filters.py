"""A grid of filters, one small image each, the selected ones framed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

from worker.training.pictures.sheet import (
    EMPTY,
    INK,
    LINE,
    ORANGE,
    QUIET,
    png,
    sheet,
    text_width,
)

LIMIT = 512
"""Filters in one picture at most, unless asked otherwise: 32 in a row stay legible."""

Flags = Sequence[bool] | Tensor
"""One bool a filter."""

_Pixels = npt.NDArray[np.uint8]

_WIDTH = 1220  # px of all tiles in a row, so that a picture fits most screens
_MARGIN = 20  # px around everything
_LARGEST = 112  # px of a tile's longer side, unless its image has more
_STRIP = 4  # an image this many times as wide as high is a strip: a linear unit's row
_DIMMED = 0.6  # share of white over what is not selected
_LABEL = 7.5  # points of the numbers of rows and columns
_TEXT = 9  # points of legend and notes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """Where the tiles are, px."""

    columns: int
    rows: int
    width: int
    """Of an image as drawn."""
    height: int
    frame: int
    """Thickness of a frame; the space between two tiles is as wide as one."""

    @property
    def step(self) -> tuple[int, int]:
        """Return from one tile to the next, across and down."""
        return self.width + 3 * self.frame, self.height + 3 * self.frame

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height of all tiles."""
        across, down = self.step
        return self.columns * across - self.frame, self.rows * down - self.frame


def filter_grid(
    images: Tensor,
    *,
    layer: str,
    what: str = "weights",
    selected: Flags | None = None,
    dead: Flags | None = None,
    note: str = "",
    limit: int = LIMIT,
) -> bytes:
    """Return a picture of a layer's filters, in rows; the number of a filter is row + column.

    Args:
        images: (O, H, W), (O, 1, H, W) or (O, 3, H, W), in [0, 1]. One image a filter.
        layer: its name, for the title.
        what: what the images are, for the title.
        selected: which filters are in Gamma's support; they are framed, the others dimmed. None
            marks nothing.
        dead: which filters no image was found to raise; they are crossed out.
        note: a line beneath the picture, for what the reader must know.
        limit: filters drawn at most, from the first on; how many are not is said.

    Raises:
        ValueError: the images are of another shape or range, a number of flags differs from
            theirs, or `limit` is below 1.
    """
    pictures = _checked(images, limit)  # (O, 3, H, W)
    count = len(pictures)
    chosen = _flags("selected", selected, count)
    gone = _flags("dead", dead, count)
    shown = min(count, limit)
    layout = _layout(shown, pictures.shape[3], pictures.shape[2])
    tiles = _tiles(pictures[:shown], layout, chosen if selected is not None else None, gone)
    head = _headline(pictures, chosen if selected is not None else None, gone)
    notes = [note] if note else []
    if shown < count:
        hidden = f", {sum(chosen[shown:])} of them selected" if selected is not None else ""
        notes.append(f"The first {shown} filters; {count - shown} more are not shown{hidden}.")
    legend = _legend(selected is not None, any(gone[:shown]))
    return _draw(tiles, layout, [f"{layer}: {what}", head], legend, notes)


def _checked(images: Tensor, limit: int) -> Tensor:
    """Return the images as (O, 3, H, W) float32 on the CPU."""
    pictures = images.detach().to("cpu", torch.float32)
    if pictures.ndim == 3:
        pictures = pictures.unsqueeze(1)
    if pictures.ndim != 4 or pictures.shape[1] not in (1, 3) or pictures.numel() == 0:
        raise ValueError(
            "images must be (O, H, W), (O, 1, H, W) or (O, 3, H, W), none of them 0, "
            f"got shape {tuple(images.shape)}"
        )
    if not bool(((pictures >= 0) & (pictures <= 1)).all()):
        raise ValueError(
            f"images must be in [0, 1], got {pictures.min().item():g} to {pictures.max().item():g}"
        )
    if limit < 1:
        raise ValueError(f"limit must be >= 1, got {limit}")
    return pictures.expand(-1, 3, -1, -1)


def _flags(name: str, flags: Flags | None, count: int) -> list[bool]:
    values = [False] * count if flags is None else [bool(flag) for flag in flags]
    if len(values) != count:
        raise ValueError(
            f"{name} must have one flag for each of {count} filters, got {len(values)}"
        )
    return values


def _layout(count: int, width: int, height: int) -> _Layout:
    """Return how many tiles go into a row, and their size for images of W x H px."""
    strip = width >= _STRIP * height
    if strip:
        columns = math.ceil(count / 128)  # more rows than this no screen shows
    else:
        columns = next((c for c, most in ((8, 32), (16, 128)) if count <= most), 32)
    columns = min(columns, count)
    frame = 3 if columns <= 8 else 2
    space = _WIDTH // columns - 3 * frame
    times = (space if strip else min(space, max(_LARGEST, width, height))) / max(width, height)
    if times >= 1:  # whole pixels stay of one size
        times = float(int(times))
    drawn = max(1, round(height * times))
    return _Layout(
        columns=columns,
        rows=math.ceil(count / columns),
        width=max(1, round(width * times)),
        height=max(5, min(14, drawn, 1200 // count)) if strip else drawn,
        frame=frame,
    )


def _tiles(
    pictures: Tensor, layout: _Layout, selected: list[bool] | None, dead: list[bool]
) -> _Pixels:
    """Return all tiles as one image, (height, width, 3)."""
    size = (layout.height, layout.width)
    smaller = size[0] < pictures.shape[2] or size[1] < pictures.shape[3]
    drawn = interpolate(pictures, size, mode="area" if smaller else "nearest")
    pixels = (drawn * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    width, height = layout.size
    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    across, down = layout.step
    edge = layout.frame
    for index, image in enumerate(pixels):
        top, left = down * (index // layout.columns), across * (index % layout.columns)
        framed = canvas[top : top + layout.height + 2 * edge, left : left + layout.width + 2 * edge]
        chosen = selected is not None and selected[index]
        framed[:] = _bytes(ORANGE if chosen else "white")
        if not chosen:  # a hair line, so that a white image has an edge too
            framed[edge - 1 : 1 - edge, edge - 1 : 1 - edge] = _bytes(LINE)
        inside = framed[edge:-edge, edge:-edge]
        inside[:] = _crossed(inside.shape) if dead[index] else image
        if selected is not None and not chosen:
            inside[:] = _dimmed(inside)
    return canvas


def _bytes(colour: str) -> _Pixels:
    return np.array([round(255 * part) for part in to_rgb(colour)]).astype(np.uint8)


def _dimmed(image: _Pixels) -> _Pixels:
    lighter: _Pixels = np.rint(image * (1 - _DIMMED) + 255 * _DIMMED).astype(np.uint8)
    return lighter


def _crossed(shape: tuple[int, ...]) -> _Pixels:
    """Return an empty tile with its diagonals."""
    tile = np.empty(shape, dtype=np.uint8)
    tile[:] = _bytes(EMPTY)
    height, width = shape[:2]
    for step in range(2 * max(height, width)):
        along = step / (2 * max(height, width))
        row, column = int(along * height), int(along * width)
        tile[row, column] = tile[row, width - 1 - column] = _bytes(QUIET)
    return tile


def _headline(pictures: Tensor, selected: list[bool] | None, dead: list[bool]) -> str:
    count, _, height, width = pictures.shape
    parts = [f"{count} filter{'s' * (count > 1)} of {height} x {width} px"]
    if selected is not None:
        parts.append(f"{sum(selected)} selected ({100 * sum(selected) / count:.0f} %)")
    if any(dead):
        parts.append(f"{sum(dead)} dead")
    return ", ".join(parts)


def _legend(marked: bool, crossed: bool) -> list[tuple[str, _Pixels]]:
    """Return what each kind of tile means, with a small one of it."""
    size = (14, 14, 3)
    entries = []
    if marked:
        framed = np.empty(size, dtype=np.uint8)
        framed[:] = _bytes(ORANGE)
        framed[2:-2, 2:-2] = _bytes("#808080")
        plain = np.full(size, 255, dtype=np.uint8)
        plain[1:-1, 1:-1] = _bytes(LINE)
        plain[2:-2, 2:-2] = _dimmed(framed[2:-2, 2:-2])
        entries += [("selected (in Gamma's support)", framed), ("not selected", plain)]
    if crossed:
        entries.append(("dead: no image was found that raises it", _crossed(size)))
    return entries


def _draw(
    tiles: _Pixels,
    layout: _Layout,
    titles: Sequence[str],
    legend: Sequence[tuple[str, _Pixels]],
    notes: Sequence[str],
) -> bytes:
    """Return the picture: titles, legend, numbered tiles, notes, from the top."""
    last = (layout.rows - 1) * layout.columns
    gutter = math.ceil(text_width(str(last), _LABEL)) + 8
    key_width = sum(46 + text_width(text, _TEXT) for text, _ in legend)
    wanted = [
        gutter + tiles.shape[1],
        text_width(titles[0], 12, bold=True),
        *(text_width(line, _TEXT) for line in (*titles[1:], *notes)),
        key_width,
    ]
    width = math.ceil(max(wanted)) + 2 * _MARGIN
    top = _MARGIN + 44 + 26 * bool(legend) + 20
    height = top + tiles.shape[0] + (10 + 18 * len(notes) if notes else 0) + _MARGIN
    with sheet(width, height) as figure:
        page = _Page(figure, width, height)
        page.write(_MARGIN, _MARGIN + 8, titles[0], size=12, weight="bold")
        page.write(_MARGIN, _MARGIN + 31, titles[1], color=QUIET)
        x = float(_MARGIN)
        for text, key in legend:
            page.paste(x, _MARGIN + 48, key)
            page.write(x + 20, _MARGIN + 55, text)
            x += 46 + text_width(text, _TEXT)
        page.paste(_MARGIN + gutter, top, tiles)
        _number(page, layout, _MARGIN + gutter, top)
        for line, text in enumerate(notes):
            page.write(_MARGIN, top + tiles.shape[0] + 20 + 18 * line, text, color=QUIET)
        return png(figure)


class _Page:
    """A figure on which places are pixels from the top left."""

    def __init__(self, figure: Figure, width: int, height: int) -> None:
        self._figure, self._width, self._height = figure, width, height

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = _TEXT,
        color: str = INK,
        weight: str = "normal",
        ha: str = "left",
    ) -> None:
        """Write a line whose middle is at height `y`."""
        self._figure.text(
            x / self._width,
            1 - y / self._height,
            text,
            size=size,
            color=color,
            weight=weight,
            ha=ha,
            va="center_baseline",
        )

    def paste(self, x: float, y: float, image: _Pixels) -> None:
        """Put an image, pixel by pixel, with its top left corner there."""
        self._figure.figimage(image, round(x), self._height - round(y) - image.shape[0])


def _number(page: _Page, layout: _Layout, left: int, top: int) -> None:
    """Write the number of each row's first filter, and what each column adds, where they fit."""
    across, down = layout.step
    every = math.ceil(12 / down)
    for row in range(0, layout.rows, every) if layout.rows > 1 else ():
        middle = top + row * down + layout.height / 2 + layout.frame
        page.write(
            left - 6, middle, str(row * layout.columns), size=_LABEL, color=QUIET, ha="right"
        )
    every = math.ceil(22 / across)
    for column in range(0, layout.columns, every) if layout.columns > 1 else ():
        middle = left + column * across + layout.width / 2 + layout.frame
        text = f"+{column}" if layout.rows > 1 else str(column)
        page.write(middle, top - 9, text, size=_LABEL, color=QUIET, ha="center")
