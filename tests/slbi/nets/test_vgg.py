import pytest
import torch

from slbi.nets import backbones
from slbi.nets.vgg import Cell


@pytest.mark.parametrize(("name", "convolutions"), [("vgg11", 8), ("vgg13", 10), ("vgg16", 13)])
def test_there_are_the_published_convolutions(name: str, convolutions: int) -> None:
    widths = backbones.standard_widths(name, 32)
    assert len(widths) == convolutions
    assert tuple(widths.values())[:2] in {(64, 64), (64, 128)}
    assert tuple(widths.values())[-2:] == (512, 512)


def test_a_map_of_one_pixel_is_not_pooled() -> None:
    x = torch.randn(2, 3, 1, 1)
    plain, pooling = Cell(3, 4, pools=False), Cell(3, 4, pools=True)
    pooling.load_state_dict(plain.state_dict())
    assert torch.equal(plain.eval()(x), pooling.eval()(x))


@pytest.mark.parametrize(("size", "left"), [(8, 1), (28, 1), (32, 1), (64, 2), (96, 3)])
def test_the_last_map_shrinks_to_a_pixel_or_more(size: int, left: int) -> None:
    net = backbones.build("vgg16", in_channels=3, size=size, classes=10, device="meta").eval()
    features = net.get_submodule("features")(torch.empty(1, 3, size, size, device="meta"))
    assert features.shape == (1, 512, left, left)
