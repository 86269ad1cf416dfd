import pytest
import torch
from torch import Tensor, nn

from slbi.nets.strided import FEW, SlicedConv
from slbi.nets.suited import suited


def made(reads: int, *, bias: bool = False, padding: int = 0, groups: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    conv = nn.Conv2d(reads, 9, 1, stride=(2, 3), bias=bias, padding=padding, groups=groups)
    return nn.Sequential(conv, nn.ReLU())


def gradients(net: nn.Sequential, images: Tensor) -> list[Tensor]:
    images = images.clone().requires_grad_()
    net.zero_grad()
    torch.autograd.backward(net(images).square().sum())
    assert images.grad is not None
    return [images.grad, *(each.grad for each in net.parameters() if each.grad is not None)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reads", [1, 3, 7, FEW - 1])
def test_few_channels_with_a_stride_have_the_right_gradients(reads: int, *, bias: bool) -> None:
    net = made(reads, bias=bias)
    images = torch.randn(4, reads, 14, 13)
    wanted = gradients(net, images)  # channels outermost, which is computed soundly
    expected = net(images)
    net.to(memory_format=torch.channels_last)
    inner = images.contiguous(memory_format=torch.channels_last)
    own = net[0]
    with suited(net.train()):
        assert isinstance(net[0], SlicedConv)
        assert net[0].weight is own.weight
        found = gradients(net, inner)
        torch.testing.assert_close(net(inner), expected)
    assert net[0] is own
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("net", [made(FEW), made(6, padding=1), made(6, groups=3)])
def test_others_are_left(net: nn.Sequential) -> None:
    hooked = made(4)
    hooked[0].register_forward_hook(lambda *_: None)
    for each in (net, hooked, nn.Sequential(nn.Conv2d(4, 9, 3, stride=2))):
        before = dict(each.named_modules())
        with suited(each):
            assert dict(each.named_modules()) == before
