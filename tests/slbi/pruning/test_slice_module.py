import pytest
import torch
from torch import Tensor, nn

from slbi.nets import backbones
from slbi.nets.graph.find import Found, find
from slbi.pruning.slice_module import masked_module, slice_module
from tests import zoo


def _keep(found: Found, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    keep = {}
    for group in found.coupling.groups:
        if group.blended is None:
            mask = torch.rand(found.widths[group.name], generator=generator) > 0.5
            mask[0] = True
            keep[group.name] = mask
    return keep


def _sgd(net: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", zoo.CASES)
def test_a_sliced_network_equals_the_silent_one(name: str, seed: int) -> None:
    net = zoo.built(name)
    found = find(net, zoo.SHAPE)
    keep = _keep(found, seed)
    sliced = slice_module(net, _sgd(net), found, keep)
    assert find(sliced.net, zoo.SHAPE) == sliced.found
    for group, mask in keep.items():
        assert torch.equal(sliced.kept[group], mask.nonzero().flatten())
    assert not sliced.inexact
    silent = zoo.logits(masked_module(net, found, keep, silent=True), zoo.images())
    for one, other in zip(zoo.logits(sliced.net, zoo.images()), silent, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", zoo.CASES)
def test_what_removed_filters_emit_is_taken_up(name: str, seed: int) -> None:
    net = zoo.built(name)
    found = find(net, zoo.SHAPE)
    keep = _keep(found, seed)
    sliced = slice_module(net, _sgd(net), found, keep, shape=zoo.SHAPE)
    masked = zoo.logits(masked_module(net, found, keep), zoo.images())
    change = max(
        float((one - other).abs().max())
        for one, other in zip(zoo.logits(sliced.net, zoo.images()), masked, strict=True)
    )
    assert change <= 1e-12 or sliced.inexact


@torch.no_grad()
def test_what_is_not_taken_up_is_missed() -> None:
    net = zoo.built("flat")
    net.get_parameter("norm.bias").fill_(1.0)
    found = find(net, zoo.SHAPE)
    keep = {"stem": torch.tensor([1, 1, 0, 1, 1, 1]).bool()}
    x = zoo.images()
    masked = masked_module(net, found, keep)(x)
    taken = slice_module(net, _sgd(net), found, keep, shape=zoo.SHAPE)
    dropped = slice_module(net, _sgd(net), found, keep)
    torch.testing.assert_close(taken.net(x), masked, rtol=0, atol=1e-12)
    assert not taken.inexact
    assert (dropped.net(x) - masked).abs().max() > 1e-3


def test_a_reader_that_pads_its_map_makes_its_group_inexact() -> None:
    net = zoo.built("residual")
    net.get_parameter("norm.bias").data.fill_(1.0)
    found = find(net, zoo.SHAPE)
    keep = {"stem": torch.tensor([1, 1, 0, 1, 1, 1]).bool()}
    assert slice_module(net, _sgd(net), found, keep, shape=zoo.SHAPE).inexact == ("stem",)


def test_a_stream_keeps_what_a_table_adds_to_it() -> None:
    net = backbones.build("resnet20", in_channels=3, size=8, classes=5, dtype=torch.float64).eval()
    found = find(net, (3, 8, 8))
    keep = _keep(found, 0)
    sliced = slice_module(net, _sgd(net), found, keep)
    small, left = sliced.net, sliced.found
    route = found.coupling.routes[0]
    fed = torch.cat([keep[route.source], torch.zeros(16, dtype=torch.bool)])
    assert left.widths[route.target] == int((keep[route.target] | fed).sum())
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    kept = {**keep, route.target: keep[route.target] | fed}
    second = found.coupling.routes[1]
    later = torch.cat([kept[second.source], torch.zeros(32, dtype=torch.bool)])
    kept[second.target] |= later
    torch.testing.assert_close(
        small(x), masked_module(net, found, kept, silent=True)(x), rtol=0, atol=1e-12
    )


def test_state_travels_with_the_filters() -> None:
    net = zoo.built("dense")
    optimizer = _sgd(net)
    net(zoo.images()).square().sum().backward()
    optimizer.step()
    found = find(net, zoo.SHAPE)
    keep = {"stem": torch.tensor([1, 0, 1, 0, 0, 1]).bool()}
    sliced = slice_module(net, optimizer, found, keep)
    weight = sliced.net.get_parameter("layers.1.weight")
    momentum = sliced.optimizer.state[weight]["momentum_buffer"]
    old = optimizer.state[net.get_parameter("layers.1.weight")]["momentum_buffer"]
    assert torch.equal(momentum, old[:, [0, 2, 5, 6, 7, 8, 9]])


@pytest.mark.parametrize(
    ("name", "keep", "message"),
    [
        ("dense", {"stern": [True]}, "groups to keep must be among stem, .*, got 'stern'"),
        ("dense", {"stem": [True]}, r"mask of 'stem' must be bool of shape \(6,\), got torch.bool"),
        ("dense", {"stem": [False] * 6}, "group 'stem' must keep at least one filter, got none"),
        ("hidden", {"stem": [True, *[False] * 5]}, "group 'stem' must keep its width: LayerNorm"),
    ],
)
def test_impossible_masks_are_refused(name: str, keep: dict[str, list[bool]], message: str) -> None:
    net = zoo.built(name)
    masks = {group: torch.tensor(mask) for group, mask in keep.items()}
    with pytest.raises(ValueError, match=message):
        slice_module(net, _sgd(net), find(net, zoo.SHAPE), masks)
