from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from worker.training.pictures.filters import filter_grid
from worker.training.pictures.sheet import ORANGE

Pixels = npt.NDArray[np.uint8]
Decode = Callable[[bytes], Pixels]

FRAME = tuple(bytes.fromhex(ORANGE[1:]))


def images(count: int, *shape: int) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))


def frames(picture: Pixels) -> list[tuple[int, int]]:
    """Return top and left of every framed square, the key of the legend among them."""
    orange = (picture == FRAME).all(axis=2)
    corner = orange.copy()
    corner[1:] &= ~orange[:-1]
    corner[:, 1:] &= ~orange[:, :-1]
    return [(int(top), int(left)) for top, left in np.argwhere(corner)]


@pytest.mark.parametrize("count", [1, 2, 6, 16, 64, 120, 512])
def test_every_number_of_filters_fits_a_screen(count: int, pixels: Decode) -> None:
    selected = [index % 3 == 0 for index in range(count)]
    picture = pixels(filter_grid(images(count, 5, 5), layer="conv1", selected=selected))
    assert 100 < picture.shape[0] <= 1080
    assert 300 < picture.shape[1] <= 1320
    assert len(frames(picture)) == sum(selected) + 1


def test_the_frame_of_a_selected_filter_has_the_colour_and_surrounds_its_image(
    pixels: Decode,
) -> None:
    """One filter: a white and a black pixel, 56 px each, within a frame of 3 px."""
    image = torch.tensor([[[1.0, 0.0]]])
    picture = pixels(filter_grid(image, layer="conv1", selected=[True]))
    _, (top, left) = frames(picture)
    assert (picture[top : top + 3, left : left + 118] == FRAME).all()
    assert (picture[top : top + 62, left : left + 3] == FRAME).all()
    assert (picture[top + 59 : top + 62, left : left + 118] == FRAME).all()
    assert (picture[top + 3 : top + 59, left + 3 : left + 59] == 255).all()
    assert (picture[top + 3 : top + 59, left + 59 : left + 115] == 0).all()


def test_what_is_not_selected_is_dimmed_and_has_no_frame(pixels: Decode) -> None:
    black = torch.zeros(2, 4, 4)
    picture = pixels(filter_grid(black, layer="conv1", selected=[True, False]))
    _, (top, left) = frames(picture)
    middle = picture[top + 50]
    dark = [tuple(middle[left + 50]), tuple(middle[left + 50 + 121])]
    assert dark == [(0, 0, 0), (153, 153, 153)]
    assert len(frames(picture)) == 2


def test_without_a_support_nothing_is_marked_or_dimmed(pixels: Decode) -> None:
    picture = pixels(filter_grid(torch.zeros(8, 4, 4), layer="conv1"))
    assert frames(picture) == []
    assert (picture == 0).all(axis=2).sum() >= 8 * 100 * 100


def test_colours_are_kept(pixels: Decode) -> None:
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 1
    picture = pixels(filter_grid(red, layer="stem"))
    assert (picture == (255, 0, 0)).all(axis=2).sum() == 112 * 112


def test_a_dead_filter_is_crossed_out(pixels: Decode) -> None:
    grid = torch.zeros(2, 28, 28)
    plain = pixels(filter_grid(grid, layer="conv1"))
    crossed = pixels(filter_grid(grid, layer="conv1", dead=[False, True]))
    black = [int((picture == 0).all(axis=2).sum()) for picture in (plain, crossed)]
    assert black[0] - black[1] == 112 * 112


@pytest.mark.parametrize("size", [7, 28, 32, 224])
def test_images_of_any_size_are_drawn(size: int, pixels: Decode) -> None:
    picture = pixels(filter_grid(images(40, 3, size, size), layer="conv1"))
    assert picture.shape[1] <= 1320


def test_the_rows_of_a_linear_layer_are_strips(pixels: Decode) -> None:
    picture = pixels(filter_grid(images(300, 1, 512), layer="fc1", selected=[True] * 300))
    assert picture.shape[0] <= 1600
    assert picture.shape[1] <= 1320
    assert len(frames(picture)) == 301


def test_more_filters_than_the_limit_are_counted_not_drawn(pixels: Decode) -> None:
    many = filter_grid(images(600, 3, 3), layer="conv1", selected=[True] * 600)
    picture = pixels(many)
    assert len(frames(picture)) == 512 + 1
    few = pixels(filter_grid(images(512, 3, 3), layer="conv1", selected=[True] * 512))
    assert picture.shape[0] > few.shape[0]  # by the note


def test_a_long_name_widens_the_page(pixels: Decode) -> None:
    picture = pixels(filter_grid(images(1, 3, 3), layer="block." * 20))
    ink = np.nonzero((picture < 128).any(axis=(0, 2)))[0]
    assert picture.shape[1] > 900
    assert ink.max() < picture.shape[1] - 10


def test_the_same_filters_give_the_same_bytes() -> None:
    first, second = (
        filter_grid(images(16, 5, 5), layer="conv1", selected=[True] * 16) for _ in range(2)
    )
    assert first == second


def test_the_images_are_left_alone() -> None:
    given = images(4, 5, 5)
    before = given.clone()
    filter_grid(given, layer="conv1", selected=[False] * 4)
    assert torch.equal(given, before)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (torch.zeros(2, 2), {}, r"images must be .* got shape \(2, 2\)"),
        (torch.zeros(0, 3, 3), {}, r"got shape \(0, 3, 3\)"),
        (torch.full((1, 2, 2), 2.0), {}, r"in \[0, 1\], got 2 to 2"),
        (torch.full((1, 2, 2), torch.nan), {}, r"in \[0, 1\], got nan"),
        (torch.zeros(2, 3, 3), {"selected": [True]}, "selected must have one flag .* 2 .* got 1"),
        (torch.zeros(2, 3, 3), {"limit": 0}, "limit must be >= 1, got 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    given: Tensor, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        filter_grid(given, layer="conv1", **options)
