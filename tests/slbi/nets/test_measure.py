import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode

from slbi.nets.measure import measure

SHAPE = (3, 8, 8)


class Mixed(nn.Module):
    """A grouped convolution, a layer called twice, one called as a function, and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, groups=3)
        self.norm = nn.BatchNorm2d(6)
        self.twice = nn.Linear(6, 6)
        self.taken = nn.Linear(6, 6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).flatten(2).transpose(1, 2)
        x = self.twice(self.twice(x))
        x = linear(x, self.taken.weight, self.taken.bias)
        made: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return made


def test_every_use_of_a_weight_is_counted_and_all_together_is_what_torch_counts() -> None:
    with torch.device("meta"):
        net = Mixed().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(1, *SHAPE, device="meta"))
    weights = dict(net.named_parameters())
    found = measure(net, SHAPE)
    assert found.positions["conv.weight"] == 36
    assert found.positions["twice.weight"] == 2 * 36
    assert found.positions["taken.weight"] == 36
    assert found.macs > 0
    whole = found.macs + sum(
        times * weights[name].numel() for name, times in found.positions.items()
    )
    assert 2 * whole == counter.get_total_flops()


def test_layers_whose_weights_alone_are_taken_are_not_called() -> None:
    with torch.device("meta"):
        found = measure(Mixed(), SHAPE)
    assert {"conv", "twice"} <= found.called
    assert not found.called & {"taken", "attention.out_proj"}
