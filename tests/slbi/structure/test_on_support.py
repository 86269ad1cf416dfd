from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slbi.optim.optimizer import SLBI
from slbi.optim.shrink import Structure
from slbi.structure.on_support import on_support
from slbi.structure.support import w_star


@pytest.fixture
def pair() -> tuple[nn.Sequential, SLBI]:
    """A network, channels last, whose twins have moved so far that some of each have entered."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.Linear(24, 5))
    net.to(memory_format=torch.channels_last)
    conv, linear = net.get_parameter("0.weight"), net.get_parameter("2.weight")
    rest = [parameter for parameter in net.parameters() if parameter.ndim == 1]
    groups: list[dict[str, Any]] = [
        {"params": [conv], "structure": "filter", "threshold": 0.58},
        {"params": [linear], "structure": "element", "threshold": 0.1},
        {"params": rest, "structure": None},
    ]
    optimizer = SLBI(groups, lr=0.1)
    for weight in (conv, linear):
        optimizer.state[weight]["z"] = weight.detach().clone()
    for weight in (conv, linear):
        selected = optimizer.support(weight)
        assert selected.any()
        assert not selected.all()
    return net, optimizer


def _copies(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize("structure", [None, "filter", "element"])
def test_weights_with_such_a_twin_are_w_star_and_all_else_stays(
    pair: tuple[nn.Sequential, SLBI], structure: Structure | None
) -> None:
    net, optimizer = pair
    before = _copies(net)
    expected = dict(before)
    for name, each in (("0.weight", "filter"), ("2.weight", "element")):
        if structure in {None, each}:
            weight = net.get_parameter(name)
            expected[name] = w_star(weight, optimizer.gamma(weight), optimizer.structure(weight))
            assert not torch.equal(expected[name], before[name])
    with on_support(optimizer, structure):
        inside = _copies(net)
    assert all(torch.equal(inside[name], expected[name]) for name in expected)


def test_the_weights_come_back_bit_for_bit_even_after_an_error(
    pair: tuple[nn.Sequential, SLBI],
) -> None:
    net, optimizer = pair
    before = _copies(net)
    weights = [net.get_parameter(name) for name in ("0.weight", "2.weight")]
    gammas = [optimizer.gamma(weight) for weight in weights]
    strides = [tensor.stride() for tensor in net.state_dict().values()]

    class Trouble(Exception):  # noqa: N818 -- a name for a test
        pass

    with pytest.raises(Trouble), on_support(optimizer):
        raise Trouble
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert [tensor.stride() for tensor in net.state_dict().values()] == strides
    again = [optimizer.gamma(weight) for weight in weights]
    assert all(torch.equal(one, other) for one, other in zip(gammas, again, strict=True))
