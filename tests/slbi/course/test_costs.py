import pytest
import torch
from torch import Tensor, nn

from slbi.course.costs import Costs
from slbi.nets.count import count
from slbi.nets.graph.find import Found, find
from slbi.nets.graph.resize import rebuilt
from slbi.nets.widths import Widths
from tests.slbi.course.own import Own

SHAPE = (1, 8, 8)


class Uneven(nn.Module):
    """Of one of its parameters some rows alone are used."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3)
        self.twice = nn.Conv2d(6, 6, 1)
        self.head = nn.Linear(6, 10)
        self.left, self.right = nn.Parameter(torch.ones(7, 5)), nn.Parameter(torch.ones(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.twice(torch.relu(self.stem(x))))
        logits: Tensor = self.head(x.mean((2, 3))) + (self.left[:2] @ self.right).mean()
        return logits


def _other(found: Found, number: int) -> Widths:
    drawn = torch.Generator().manual_seed(number)
    return Widths(
        {
            group: int(torch.randint(1, 2 * width, (1,), generator=drawn))
            for group, width in found.widths.items()
        }
    )


@pytest.mark.parametrize("make", [Own, Uneven])
def test_costs_at_any_widths_are_those_of_the_network_that_has_them(make: type[nn.Module]) -> None:
    net = make()
    found = find(net, SHAPE)
    cost = Costs(net, found, SHAPE)
    assert cost(found.widths) == count(net, SHAPE)
    for number in range(8):
        widths = _other(found, number)
        assert cost(widths) == count(rebuilt(net, found, widths)[0], SHAPE)


def test_a_network_in_double_costs_the_same() -> None:
    net = Own().double()
    found = find(net, SHAPE)
    assert Costs(net, found, SHAPE)(found.widths) == count(net, SHAPE)
