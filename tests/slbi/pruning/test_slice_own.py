import pytest
import torch
from torch import Tensor, nn

from slbi.nets import backbones
from slbi.nets.graph.find import Found, find
from slbi.pruning.mask import masked
from slbi.pruning.slice import slice_filters
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
    sliced = slice_filters(net, _sgd(net), keep, found=found)
    assert find(sliced.net, zoo.SHAPE) == sliced.found
    for group, mask in keep.items():
        assert torch.equal(sliced.kept[group], mask.nonzero().flatten())
    assert not sliced.inexact
    silent = zoo.logits(masked(net, keep, found=found, silent=True), zoo.images())
    for one, other in zip(zoo.logits(sliced.net, zoo.images()), silent, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", zoo.CASES)
def test_what_removed_filters_emit_is_taken_up(name: str, seed: int) -> None:
    net = zoo.built(name)
    found = find(net, zoo.SHAPE)
    keep = _keep(found, seed)
    sliced = slice_filters(net, _sgd(net), keep, found=found, shape=zoo.SHAPE)
    whole = zoo.logits(masked(net, keep, found=found), zoo.images())
    change = max(
        float((one - other).abs().max())
        for one, other in zip(zoo.logits(sliced.net, zoo.images()), whole, strict=True)
    )
    assert change <= 1e-12 or sliced.inexact


@torch.no_grad()
def test_what_is_not_taken_up_is_missed() -> None:
    net = zoo.built("flat")
    net.get_parameter("norm.bias").fill_(1.0)
    found = find(net, zoo.SHAPE)
    keep = {"stem": torch.tensor([1, 1, 0, 1, 1, 1]).bool()}
    x = zoo.images()
    whole = masked(net, keep, found=found)(x)
    taken = slice_filters(net, _sgd(net), keep, found=found, shape=zoo.SHAPE)
    dropped = slice_filters(net, _sgd(net), keep, found=found)
    torch.testing.assert_close(taken.net(x), whole, rtol=0, atol=1e-12)
    assert not taken.inexact
    assert (dropped.net(x) - whole).abs().max() > 1e-3


def test_a_reader_that_pads_its_map_makes_its_group_inexact() -> None:
    net = zoo.built("residual")
    net.get_parameter("norm.bias").data.fill_(1.0)
    found = find(net, zoo.SHAPE)
    keep = {"stem": torch.tensor([1, 1, 0, 1, 1, 1]).bool()}
    assert slice_filters(net, _sgd(net), keep, found=found, shape=zoo.SHAPE).inexact == ("stem",)


def test_a_stream_keeps_what_a_table_adds_to_it() -> None:
    net = backbones.build("resnet20", in_channels=3, size=8, classes=5, dtype=torch.float64).eval()
    found = net.found()
    keep = _keep(found, 0)
    sliced = slice_filters(net, _sgd(net), keep)
    small, left = sliced.net, sliced.found
    route = found.coupling.routes[0]
    fed = torch.cat([keep[route.source], torch.zeros(16, dtype=torch.bool)])
    assert left.widths[route.target] == int((keep[route.target] | fed).sum())
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(small(x), masked(net, keep)(x), rtol=0, atol=1e-12)


def test_a_group_of_which_nothing_is_asked_for_keeps_its_largest_filter() -> None:
    net = zoo.built("dense")
    with torch.no_grad():
        net.get_parameter("layers.1.weight").mul_(0.1)[2].fill_(1.0)
    found = find(net, zoo.SHAPE)
    nothing = {"layers.1": torch.zeros(found.widths["layers.1"], dtype=torch.bool)}
    sliced = slice_filters(net, _sgd(net), nothing, found=found)
    assert sliced.rescued == ("layers.1",)
    assert sliced.kept["layers.1"].tolist() == [2]


def test_what_is_found_of_another_width_is_refused() -> None:
    net = zoo.built("dense")
    found = find(net, zoo.SHAPE)
    wider = found.resized(found.widths.replaced({"stem": 7}))
    with pytest.raises(ValueError, match=r"found must be of the network as it is, .* got "):
        slice_filters(net, None, {}, found=wider)


def test_a_network_of_ones_own_needs_what_was_found_of_it() -> None:
    with pytest.raises(ValueError, match="found must be given for a network that is no backbone"):
        slice_filters(zoo.built("dense"), None, {})


def test_state_travels_with_the_filters() -> None:
    net = zoo.built("dense")
    optimizer = _sgd(net)
    net(zoo.images()).square().sum().backward()
    optimizer.step()
    found = find(net, zoo.SHAPE)
    keep = {"stem": torch.tensor([1, 0, 1, 0, 0, 1]).bool()}
    sliced = slice_filters(net, optimizer, keep, found=found)
    weight = sliced.net.get_parameter("layers.1.weight")
    momentum = sliced.optimizer.state[weight]["momentum_buffer"]
    old = optimizer.state[net.get_parameter("layers.1.weight")]["momentum_buffer"]
    assert torch.equal(momentum, old[:, [0, 2, 5, 6, 7, 8, 9]])


@pytest.mark.parametrize(
    ("name", "keep", "message"),
    [
        ("dense", {"stern": [True]}, "groups to keep must be among stem, .*, got 'stern'"),
        ("dense", {"stem": [True]}, r"mask of 'stem' must be bool of shape \(6,\), got torch.bool"),
        ("hidden", {"stem": [True, *[False] * 5]}, "group 'stem' must keep its width: LayerNorm"),
    ],
)
def test_impossible_masks_are_refused(name: str, keep: dict[str, list[bool]], message: str) -> None:
    net = zoo.built(name)
    masks = {group: torch.tensor(mask) for group, mask in keep.items()}
    with pytest.raises(ValueError, match=message):
        slice_filters(net, _sgd(net), masks, found=find(net, zoo.SHAPE))
