"""BatchNorm of few channels against torch's own."""

import pytest
import torch
from torch import Tensor, nn

from slbi.nets.norms import NARROW, NarrowNorm, narrow_norms

SHAPES = ((8, 6, 6), (3, 5, 7), (1, 1, 3), (2, 1, 1))
"""Images, height and width of a batch."""


def batch(channels: int, shape: tuple[int, int, int], *, level: float = 0.0) -> Tensor:
    """Return images whose channels lie innermost."""
    images, high, wide = shape
    drawn = torch.randn(images, channels, high, wide, generator=torch.Generator().manual_seed(0))
    return (drawn + level).contiguous(memory_format=torch.channels_last)


def both(channels: int) -> tuple[nn.BatchNorm2d, NarrowNorm]:
    """Return torch's norm and ours with the same tensors."""
    norms = nn.BatchNorm2d(channels), NarrowNorm(channels)
    for norm in norms:
        source = torch.Generator().manual_seed(1)
        with torch.no_grad():
            norm.weight.copy_(torch.rand(channels, generator=source) + 0.5)
            norm.bias.copy_(torch.randn(channels, generator=source))
    return norms


def gradients(norm: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the output of a norm and the gradients of a function of it."""
    x = x.detach().requires_grad_()
    made = norm(x)
    weighed = (made * torch.linspace(-1, 2, made.numel()).view(made.shape)).sum()
    return [made.detach(), *torch.autograd.grad(weighed, (x, *norm.parameters()))]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [*NARROW, 11])
@pytest.mark.parametrize("level", [0.0, 30.0])
def test_it_computes_what_torch_computes(
    channels: int, shape: tuple[int, int, int], level: float
) -> None:
    plain, narrow = both(channels)
    x = batch(channels, shape, level=level)
    for ours, theirs in zip(gradients(narrow, x), gradients(plain, x), strict=True):
        assert float((ours - theirs).abs().max()) <= 2e-4 * max(1.0, float(theirs.abs().max()))
    for name, theirs in plain.named_buffers():
        assert torch.allclose(narrow.get_buffer(name), theirs, rtol=1e-4, atol=1e-5), name


def test_its_gradient_can_be_differentiated() -> None:
    plain, narrow = both(3)
    seconds = []
    for norm in (plain, narrow):
        x = batch(3, (4, 5, 5)).double().float().requires_grad_()
        (slope,) = torch.autograd.grad(norm(x).square().sum(), x, create_graph=True)
        seconds.append(torch.autograd.grad(slope.square().sum(), x)[0])
    assert torch.allclose(seconds[0], seconds[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("case", ["evaluation", "channels outermost", "double"])
def test_elsewhere_it_is_torch_s_own(case: str) -> None:
    plain, narrow = both(4)
    x = batch(4, (3, 6, 6))
    match case:
        case "evaluation":
            plain.eval()
            narrow.eval()
        case "channels outermost":
            x = x.contiguous()
        case _:
            plain.double()
            narrow.double()
            x = x.double()
    assert torch.equal(narrow(x), plain(x))


def network() -> nn.Sequential:
    """Return a network with norms of 3, of 3 and of 16 channels."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3, momentum=None)),
        nn.Conv2d(3, 16, 3),
        nn.BatchNorm2d(16),
    ).to(memory_format=torch.channels_last)


def test_norms_are_lent_and_given_back() -> None:
    net = network()
    before, names = dict(net.named_modules()), list(net.state_dict())
    with narrow_norms(net):
        assert type(net[1]) is NarrowNorm
        assert net[1].weight is before["1"].weight
        assert type(net[4]) is nn.BatchNorm2d, "torch's own is faster there"
        inner = net.get_submodule("2.1")
        assert type(inner) is nn.BatchNorm2d, "its statistics are means over all batches"
        assert list(net.state_dict()) == names
        net(batch(1, (4, 9, 9)))
        net.eval()
    assert dict(net.named_modules()) == before
    assert int(net.get_buffer("1.num_batches_tracked")) == 1
    assert not net[1].training, "as the one that was lent"


def test_a_norm_that_somebody_listens_to_stays() -> None:
    net, heard = network(), []
    net[1].register_forward_hook(lambda *_: heard.append(1))
    with narrow_norms(net):
        net(batch(1, (4, 9, 9)))
    assert heard == [1]


def test_norms_are_given_back_after_an_error() -> None:
    net = network()
    norm = net[1]
    with pytest.raises(RuntimeError), narrow_norms(net):
        net(torch.zeros(2, 5, 9, 9))
    assert net[1] is norm
