import pytest
import torch
from torch import Tensor, nn

from slbi.pruning.hold import Hold


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def test_momentum_and_decay_cannot_move_what_is_held_and_all_else_learns() -> None:
    net = _net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    mask = torch.rand(6, 4, generator=torch.Generator().manual_seed(1)) > 0.5
    rows = torch.tensor([True, False, True])
    hold = None
    for step in range(8):
        optimizer.zero_grad()
        net(torch.ones(2, 4)).square().sum().backward()
        optimizer.step()
        if step == 3:  # its momentum runs by then
            hold = Hold(net, {"0.weight": mask, "2.weight": rows[:, None], "2.bias": rows})
        if hold is not None:
            free = net.get_parameter("0.weight").detach().clone()
            hold.apply()
            assert not net.get_parameter("0.weight")[~mask].any()
            assert not net.get_parameter("2.weight")[1].any()
            assert not net.get_parameter("2.bias")[1].any()
            assert torch.equal(net.get_parameter("0.weight")[mask], free[mask])
    assert net.get_parameter("2.weight")[[0, 2]].all()


def test_an_infinite_weight_that_is_held_becomes_zero_and_no_nan() -> None:
    net = _net()
    net.get_parameter("0.bias").data.fill_(float("inf"))
    Hold(net, {"0.bias": torch.zeros(6, dtype=torch.bool)}).apply()
    assert net.get_parameter("0.bias").tolist() == [0.0] * 6


@pytest.mark.parametrize(
    ("name", "mask", "told"),
    [
        ("1.weight", torch.ones(6, dtype=torch.bool), "of the network, got '1.weight'"),
        ("0.weight", torch.ones(6, 4), "mask of '0.weight' must be bool and broadcast"),
        ("0.weight", torch.ones(4, dtype=torch.bool), r"to \(6, 4\), got torch.bool of shape"),
        ("0.weight", torch.ones(3, 4, dtype=torch.bool), r"got torch.bool of shape \(3, 4\)"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_by_name(name: str, mask: Tensor, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Hold(_net(), {name: mask})
