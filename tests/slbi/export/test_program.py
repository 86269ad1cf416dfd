"""One trace of a network stands for it, for any number of images."""

import pytest
import torch
from torch import Tensor, nn

from slbi.export.program import exported


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(torch.relu(self.norm(self.conv(x))))
        # As many networks do it: the batch is read off and put into a view.
        logits: Tensor = self.head(x.mean((2, 3)).view(x.shape[0], -1))
        return logits


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_trace_computes_what_the_network_computes_for_any_number_of_images(count: int) -> None:
    net = _Net().eval()
    images = torch.randn(count, 3, 8, 8)

    assert torch.equal(exported(net, (3, 8, 8)).module()(images), net(images))


def test_the_network_is_left_as_it_was() -> None:
    net = _Net().train()
    net.norm.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    exported(net, (3, 8, 8))

    assert (net.training, net.drop.training, net.norm.training) == (True, True, False)
    assert all(weight.requires_grad for weight in net.parameters())
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())


def test_the_trace_is_of_the_weights_precision() -> None:
    net = _Net().eval().double()
    images = torch.randn(3, 3, 8, 8, dtype=torch.float64)

    assert torch.equal(exported(net, (3, 8, 8)).module()(images), net(images))


def test_nothing_in_the_trace_tells_where_its_code_lay() -> None:
    assert all("stack_trace" not in node.meta for node in exported(_Net(), (3, 8, 8)).graph.nodes)


class _Pair(_Net):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return x.mean((1, 2, 3)), x


class _Summed(_Net):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(0)


class _Branching(_Net):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("net", "told"),
    [
        (_Pair(), "one tensor with a row for every image, got 2 outputs"),
        (_Summed(), "one tensor with a row for every image, got the shape"),
        (_Branching(), "traceable by torch.export"),
    ],
)
def test_what_has_no_such_trace_is_refused_and_told_why(net: nn.Module, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        exported(net, (3, 8, 8))
