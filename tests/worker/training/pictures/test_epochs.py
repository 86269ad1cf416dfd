from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from slbi.structure.path import LayerRecord, PathList
from worker.training.pictures.epochs import Measure, support_over_epochs
from worker.training.pictures.sheet import COLOURS

Pixels = npt.NDArray[np.uint8]
Decode = Callable[[bytes], Pixels]


def drawn(path: PathList, measure: Measure = "share", *, grown: bool = True) -> bytes:
    growth = path.growth_records if grown else []
    return support_over_epochs(path.layer_records, path.step_records, growth, measure=measure)


def of_colour(picture: Pixels, colour: str) -> npt.NDArray[np.bool_]:
    same: npt.NDArray[np.bool_] = (picture == tuple(bytes.fromhex(colour[1:]))).all(axis=2)
    return same


@pytest.mark.parametrize("measure", ["share", "number"])
def test_every_layer_has_a_line_of_its_own_colour(
    path: PathList, pixels: Decode, measure: Measure
) -> None:
    picture = pixels(drawn(path, measure))
    lines = [of_colour(picture, colour).any(axis=0).sum() for colour in COLOURS[:4]]
    assert min(lines[:3]) > 300
    assert lines[3] == 0


def test_share_and_number_are_two_pictures(path: PathList) -> None:
    assert drawn(path, "share") != drawn(path, "number")


def test_a_widening_has_a_tick_on_its_line(path: PathList, pixels: Decode) -> None:
    with_tick, without = (pixels(drawn(path, grown=grown)) for grown in (True, False))
    assert with_tick.shape == without.shape
    more = of_colour(with_tick, COLOURS[0]) & ~of_colour(without, COLOURS[0])
    rows, columns = more.nonzero()
    assert rows.max() - rows.min() > 8
    assert columns.max() - columns.min() < 8


def test_the_legend_lies_outside_however_many_layers_there_are(
    path: PathList, pixels: Decode
) -> None:
    count = 60
    layers = [
        LayerRecord(
            index=index, name=f"stages.stage1.block{index}.conv1", kind="conv", growable=True
        )
        for index in range(count)
    ]
    steps = [
        replace(
            step,
            support=tuple(replace(step.support[i % 3], layer=i) for i in range(count)),
        )
        for step in path.step_records
    ]
    picture = pixels(support_over_epochs(layers, steps, path.growth_records))
    assert picture.shape[1] > 800 + 2 * 150
    assert (picture[:, -6:] == 255).all()
    assert (picture[-6:] == 255).all()


def test_one_epoch_is_enough(path: PathList, pixels: Decode) -> None:
    picture = pixels(support_over_epochs(path.layer_records, path.step_records[:1]))
    assert of_colour(picture, COLOURS[2]).any()


def test_the_same_path_gives_the_same_bytes(path: PathList) -> None:
    assert drawn(path) == drawn(path)


def test_an_empty_path_is_refused(path: PathList) -> None:
    with pytest.raises(ValueError, match="got 3 layers, 0 steps"):
        support_over_epochs(path.layer_records, [])
    with pytest.raises(ValueError, match="measure must be one of share, number, got 'fill'"):
        drawn(path, "fill")  # type: ignore[arg-type]
