from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from slbi.structure.order import NEVER
from slbi.structure.path import PathList
from worker.training.pictures.order import entry_order, first_epochs
from worker.training.pictures.sheet import EMPTY, SEQUENCE

Pixels = npt.NDArray[np.uint8]
Decode = Callable[[bytes], Pixels]


def cells(picture: Pixels, row: int) -> list[tuple[int, ...]]:
    """Return the colours of a layer's cells from left to right, each once."""
    y = 74 + 30 * row + 7  # near the upper edge of a cell, above its number
    line = [tuple(int(part) for part in pixel) for pixel in picture[y]]
    runs = [pixel for pixel, next_ in zip(line, line[3:], strict=False) if pixel == next_]
    return [pixel for i, pixel in enumerate(runs) if pixel != (255,) * 3 and pixel != runs[i - 1]]


def colour(share: float) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in mpl.colormaps[SEQUENCE](share)[:3])


def test_the_first_to_enter_stands_leftmost_and_what_never_did_rightmost(pixels: Decode) -> None:
    picture = pixels(entry_order({"conv1": [NEVER, 4, 1]}))
    grey = tuple(bytes.fromhex(EMPTY[1:]))
    assert cells(picture, 0) == [colour(0.0), colour(1.0), grey]


def test_the_colours_are_the_same_in_every_layer(pixels: Decode) -> None:
    picture = pixels(entry_order({"conv1": [0, 40], "conv2": [40]}))
    assert cells(picture, 1) == cells(picture, 0)[1:] == [colour(1.0)]


def test_hundreds_of_filters_fit_a_strip(pixels: Decode) -> None:
    entries: dict[str, Tensor | list[int]] = {
        "conv5": torch.arange(512),
        "none": [NEVER] * 512,
        "one": [3],
    }
    picture = pixels(entry_order(entries))
    assert picture.shape[1] < 1000
    assert (picture[:, -6:] == 255).all()


def test_layers_that_none_has_entered_are_drawn(pixels: Decode) -> None:
    assert pixels(entry_order({"conv1": [NEVER, NEVER]})).shape[0] > 100


def test_the_first_epochs_are_read_off_a_path_that_was_widened(path: PathList) -> None:
    entries = first_epochs(path.layer_records, path.step_records)
    assert {name: entry.tolist() for name, entry in entries.items()} == {
        "conv1": [2, 1, 4, NEVER],
        "conv2": [NEVER, 3],
        "fc1": [1, NEVER, 4],
    }


def test_the_same_entries_give_the_same_bytes(path: PathList) -> None:
    entries = first_epochs(path.layer_records, path.step_records)
    assert entry_order(entries) == entry_order(entries)


def test_entries_without_layers_or_filters_are_refused() -> None:
    with pytest.raises(ValueError, match="one layer or more, got none"):
        entry_order({})
    with pytest.raises(ValueError, match=r"entries of 'conv1' must be .* got \(0,\)"):
        entry_order({"conv1": []})
