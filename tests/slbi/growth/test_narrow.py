import pytest
import torch

from slbi.growth.narrow import narrow, start_widths
from slbi.nets.graph.find import find
from slbi.nets.widths import Widths
from tests import zoo


@pytest.mark.parametrize(
    ("asked", "widths"),
    [
        ({"ratio": 0.5}, (3, 2, 2)),
        ({"ratio": 0.1}, (1, 1, 1)),
        ({"ratio": 0.1, "minimum": 2}, (2, 2, 2)),
        ({"ratio": 0.5, "multiple": 4}, (4, 4, 3)),
        ({"filters": 4}, (4, 4, 3)),
        ({"ratio": 1.0}, (6, 4, 3)),
    ],
)
def test_start_widths_follow_what_is_asked(
    asked: dict[str, float], widths: tuple[int, ...]
) -> None:
    found = find(zoo.CASES["dense"].build(), zoo.SHAPE)
    assert tuple(start_widths(found, **asked).values()) == widths  # type: ignore[arg-type] # by name


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "one of filters and ratio must be given, got None and None"),
        ({"ratio": 0.5, "filters": 3}, "one of filters and ratio must be given"),
        ({"ratio": 1.5}, r"ratio must be in \(0, 1\], got 1.5"),
        ({"filters": 0}, "filters must be >= 1, got 0"),
        ({"ratio": 0.5, "multiple": 0}, "multiple must be >= 1, got 0"),
    ],
)
def test_start_widths_out_of_range_are_refused(asked: dict[str, float], message: str) -> None:
    found = find(zoo.CASES["dense"].build(), zoo.SHAPE)
    with pytest.raises(ValueError, match=message):
        start_widths(found, **asked)  # type: ignore[arg-type] # by name


def test_the_first_filters_are_left_and_read_louder() -> None:
    net = zoo.built("dense")
    found = find(net, zoo.SHAPE)
    widths = Widths({"stem": 2, "layers.0": 2, "layers.1": 1})
    small = narrow(net, widths, found=found)
    assert find(small, zoo.SHAPE).widths.keys() <= set(widths)
    before = net.get_parameter("layers.1.weight").detach()
    kept = before[:1][:, [0, 1, 6, 7]] * (10 / 4) ** 0.5
    torch.testing.assert_close(small.get_parameter("layers.1.weight").detach(), kept)
    assert torch.equal(small.get_parameter("norm.weight"), net.get_parameter("norm.weight")[:2])


def test_a_group_that_a_norm_takes_a_mean_of_can_start_narrow() -> None:
    net = zoo.built("hidden")
    found = find(net, zoo.SHAPE)
    small = narrow(net, start_widths(found, ratio=0.5), found=found)
    assert dict(find(small, zoo.SHAPE).widths) == {"stem": 3, "up": 5}
    assert small.get_submodule("layer_norm").normalized_shape == (3,)
    assert small(zoo.images()).shape == (4, 5)


def test_more_filters_are_refused() -> None:
    net = zoo.built("squeeze")
    with pytest.raises(ValueError, match=r"width of 'stem' must be at most 6, got 7"):
        narrow(net, Widths({"stem": 7, "squeeze.1": 1}), found=find(net, zoo.SHAPE))
