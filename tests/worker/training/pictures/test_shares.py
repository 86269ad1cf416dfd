from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from slbi.structure.path import PathList
from worker.training.pictures.shares import Kept, kept_at, kept_shares
from worker.training.pictures.sheet import BLUE

Decode = Callable[[bytes], npt.NDArray[np.uint8]]

LAYERS = (
    Kept(name="conv1", kept=3, total=6),
    Kept(name="conv2", kept=16, total=16),
    Kept(name="fc1", kept=0, total=84),
)


def bars(picture: npt.NDArray[np.uint8]) -> list[int]:
    """Return the length of every blue bar, px, from the top."""
    blue = (picture == tuple(bytes.fromhex(BLUE[1:]))).all(axis=2).sum(axis=1)
    begins = [row for row in range(1, len(blue)) if blue[row] and not blue[row - 1]]
    return [int(blue[row + 2]) for row in begins]


def test_a_bar_is_as_long_as_its_share(pixels: Decode) -> None:
    half, whole = bars(pixels(kept_shares(LAYERS)))
    assert half == pytest.approx(230, abs=2)
    assert whole == pytest.approx(460, abs=2)


def test_every_layer_has_its_row(pixels: Decode) -> None:
    many = [Kept(name=f"layer{index}", kept=1, total=2) for index in range(55)]
    picture = pixels(kept_shares(many))
    assert len(bars(picture)) == 55


def test_long_names_and_large_numbers_stay_on_the_page(pixels: Decode) -> None:
    long = Kept(name="block." * 12, kept=12_345_678, total=123_456_789)
    picture = pixels(kept_shares([long], unit="entries"))
    edges = picture[:, [0, 5, -6, -1]]
    assert (edges == 255).all()


def test_the_numbers_of_a_path_are_those_of_its_step(path: PathList) -> None:
    kept = kept_at(path.layer_records, path.step_records[-1])
    assert [(layer.name, layer.kept, layer.total) for layer in kept] == [
        ("conv1", 3, 4),
        ("conv2", 1, 2),
        ("fc1", 2, 3),
    ]


def test_the_same_shares_give_the_same_bytes() -> None:
    assert kept_shares(LAYERS) == kept_shares(LAYERS)


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(ValueError, match=r"kept of 'conv1' must be .* got 7 of 6"):
        Kept(name="conv1", kept=7, total=6)
    with pytest.raises(ValueError, match="got 0 of 0"):
        Kept(name="conv1", kept=0, total=0)
    with pytest.raises(ValueError, match="one layer or more, got none"):
        kept_shares([])
