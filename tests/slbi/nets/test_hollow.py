import torch
from torch import Tensor, nn

from slbi.nets.hollow import hollow


class Computing(nn.Module):
    """A network that computes with tensors while it is built."""

    def __init__(self) -> None:
        super().__init__()
        width = int(torch.linspace(1, 9, 5).round().tolist()[-1])
        self.layer = nn.Linear(10**6, 10**6)
        self.small = nn.Linear(width, 2)
        self.drawn = nn.Parameter(torch.empty(4).normal_())


def test_layers_have_no_data_and_the_rest_has() -> None:
    net = hollow(Computing)
    assert net.layer.weight.is_meta
    assert tuple(net.small.weight.shape) == (2, 9)
    assert not net.drawn.is_meta


def test_what_is_drawn_follows_the_seed_and_leaves_torchs_generator() -> None:
    def drawn(seed: int) -> Tensor:
        return hollow(Computing, seed=seed).drawn

    before = torch.get_rng_state()
    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))
    assert torch.equal(torch.get_rng_state(), before)
