import torch
from torch import Tensor, nn

from slbi.nets.stem import reduction, take_out

SHAPE = (3, 64, 64)


class Branching(nn.Module):
    """A stride, then two branches that reduce alike, then a stride that stays."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.left = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.right = nn.Sequential(nn.AvgPool2d(3, 2, 1), nn.Conv2d(4, 4, 1))
        self.last = nn.Conv2d(4, 4, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        made: Tensor = self.last(self.left(x) + self.right(x))
        return made


def small(net: nn.Module) -> tuple[int, ...]:
    """Take out what a small stem leaves out, and return the shape of what is then put out."""
    take_out(net, reduction(net.to("meta"), SHAPE))
    return tuple(net(torch.empty(1, *SHAPE, device="meta")).shape)


def test_a_large_kernel_and_a_max_pool_become_a_kernel_of_three_and_nothing() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1))
    assert small(net) == (1, 4, 64, 64)
    conv, pool = net
    assert isinstance(conv, nn.Conv2d)
    assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
    assert tuple(conv.weight.shape) == (4, 3, 3, 3)
    assert isinstance(pool, nn.Identity)


def test_a_small_kernel_stays_and_what_is_left_of_the_reduction_too() -> None:
    net = nn.Sequential(*(nn.Conv2d(3, 3, 3, stride=2, padding=1) for _ in range(3)))
    assert small(net) == (1, 3, 32, 32)


def test_patches_lose_a_quarter_of_their_side() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 16, stride=16))
    found = reduction(net.to("meta"), SHAPE)
    assert (dict(found.strides), found.factor) == ({"0": 4}, 4)
    assert small(net) == (1, 4, 16, 16)


def test_patches_that_four_does_not_divide_lose_what_does() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 14, stride=14))
    assert reduction(net.to("meta"), (3, 224, 224)).factor == 2


def test_patches_of_four_become_a_kernel_of_three() -> None:
    assert small(nn.Sequential(nn.Conv2d(3, 4, 4, stride=4))) == (1, 4, 64, 64)


def test_branches_beside_each_other_lose_the_same() -> None:
    net = Branching()
    assert small(net) == (1, 4, 32, 32)
    assert isinstance(net.right[0], nn.Identity)
