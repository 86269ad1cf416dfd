import copy

import pytest
import torch
import torchvision.models
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from torchvision.models.convnext import CNBlockConfig, ConvNeXt, LayerNorm2d

from slbi.nets.counted import CountedLayerNorm
from slbi.nets.graph.counted import counted
from slbi.nets.graph.find import find
from slbi.nets.widths import Widths
from slbi.pruning.mask import masked
from slbi.pruning.slice import slice_filters
from tests import zoo

SHAPE = (3, 32, 32)


def _convnext(dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a ConvNeXt of two stages whose norms and scales are uneven."""
    torch.manual_seed(3)
    net: nn.Module = ConvNeXt([CNBlockConfig(8, 12, 2), CNBlockConfig(12, None, 1)], num_classes=5)
    net.to(dtype)
    for parameter in net.parameters():
        if parameter.ndim == 1 or parameter.shape[1:] == (1, 1):
            nn.init.uniform_(parameter, 0.5, 1.5)
        else:
            nn.init.normal_(parameter, 0.0, 0.3)
    return net.eval()


def _images(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, *SHAPE, dtype=dtype, generator=torch.Generator().manual_seed(1))


def _sgd(net: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


def test_streams_grow_once_their_norms_count_and_the_function_stays() -> None:
    net = _convnext()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert [g.name for g in find(net, SHAPE).coupling.groups if g.blended] == [
        "features.0.0",
        "features.2.1",
    ]
    new, found = counted(net, SHAPE)
    assert not [g.name for g in found.coupling.groups if g.blended]
    assert type(new) is type(net)
    torch.testing.assert_close(new(_images()), net(_images()), rtol=1e-12, atol=1e-12)
    own = {name for name in new.state_dict() if not name.endswith(".counted")}
    assert own == before.keys() == net.state_dict().keys()
    assert all(torch.equal(new.state_dict()[name], before[name]) for name in own)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@torch.no_grad()
def test_every_group_widened_by_a_quarter_leaves_the_function(
    dtype: torch.dtype, tolerance: float
) -> None:
    net, found = counted(_convnext(dtype), SHAPE)
    before = net(_images(dtype))
    wider, _, after = zoo.widened(
        net,
        _sgd(net),
        found,
        Widths({name: width + -(-width // 4) for name, width in found.widths.items()}),
    )
    assert (wider(_images(dtype)) - before).abs().max() <= tolerance * before.abs().max()
    norm = wider.get_submodule("features.0.1")
    assert isinstance(norm, CountedLayerNorm)
    assert norm.counted.tolist() == [True] * 8 + [False] * 2
    assert norm.normalized_shape == (10,)
    assert find(wider, SHAPE) == after


@torch.no_grad()
def test_what_removed_filters_of_a_stream_emit_is_taken_up_exactly() -> None:
    net, found = counted(_convnext(), SHAPE)
    keep = {name: torch.arange(width) % 3 > 0 for name, width in found.widths.items()}
    whole = masked(net, keep, found=found)(_images())
    sliced = slice_filters(net, _sgd(net), keep, found=found, shape=SHAPE)
    assert not sliced.inexact
    assert (sliced.net(_images()) - whole).abs().max() <= 1e-12 * whole.abs().max()
    silent = masked(net, keep, found=found, silent=True)(_images())
    assert (silent - whole).abs().max() > 1e-3 * whole.abs().max()


@torch.no_grad()
def test_a_stream_may_lose_every_filter_that_counts() -> None:
    net, found = counted(_convnext(), SHAPE)
    wider, optimizer, found = zoo.widened(
        net,
        _sgd(net),
        found,
        Widths({name: width + 2 for name, width in found.widths.items()}),
    )
    keep = {"features.0.0": torch.arange(10) >= 8}
    whole = masked(wider, keep, found=found, silent=True)(_images())
    sliced = slice_filters(wider, optimizer, keep, found=found)
    norm = sliced.net.get_submodule("features.0.1")
    assert isinstance(norm, CountedLayerNorm)
    assert norm.counted.all()
    torch.testing.assert_close(sliced.net(_images()), whole, rtol=1e-11, atol=1e-12)


def test_newborn_filters_learn() -> None:
    net, found = counted(_convnext(), SHAPE)
    wider, optimizer, _ = zoo.widened(
        net,
        _sgd(net),
        found,
        Widths({name: width + 1 for name, width in found.widths.items()}),
    )
    wider.eval()  # Blocks are dropped at random in training.
    for _ in range(2):
        optimizer.zero_grad()
        wider(_images()).square().sum().backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in wider.parameters())
    for name in ("features.0.0.weight", "features.0.1.weight", "features.1.0.block.0.weight"):
        moved = wider.get_parameter(name).grad
        assert moved is not None
        assert moved[-1].any(), name


def test_counting_again_changes_nothing() -> None:
    net, found = counted(_convnext(), SHAPE)
    net.get_buffer("features.0.1.counted")[3] = False
    again, same = counted(net, SHAPE)
    assert same == found
    assert all(torch.equal(again.state_dict()[k], v) for k, v in net.state_dict().items())


def test_norms_over_what_does_not_grow_are_left() -> None:
    with torch.device("meta"):
        net = torchvision.models.vit_b_32(weights=None)
    new, found = counted(net, (3, 224, 224))
    assert not any(isinstance(module, CountedLayerNorm) for module in new.modules())
    assert found == find(net, (3, 224, 224))


class _Lent(zoo.Net):
    """A norm that the code never calls: it takes its parameters."""

    def __init__(self) -> None:
        super().__init__(6)
        self.lent = nn.LayerNorm(6)

    def body(self, x: Tensor) -> Tensor:
        x = layer_norm(x.movedim(1, -1), (x.shape[1],), self.lent.weight, self.lent.bias)
        return x.movedim(-1, 1)


class _Twice(zoo.Net):
    """One norm under two names."""

    def __init__(self) -> None:
        super().__init__(6)
        self.one = LayerNorm2d(6)
        self.other = self.one

    def body(self, x: Tensor) -> Tensor:
        made: Tensor = self.other(self.one(x) + 1)
        return made


def test_a_norm_that_is_not_called_stays() -> None:
    new, _ = counted(_Lent(), zoo.SHAPE)
    assert type(new.get_submodule("lent")) is nn.LayerNorm


def test_a_norm_under_two_names_stays_one() -> None:
    net = _Twice().double().eval()
    new, found = counted(net, zoo.SHAPE)
    assert isinstance(new.get_submodule("other"), CountedLayerNorm)
    assert new.get_submodule("one") is new.get_submodule("other")
    assert found.coupling.group("stem").blended is None
    torch.testing.assert_close(new(zoo.images()), net(zoo.images()), rtol=0, atol=1e-12)


def test_norms_over_many_axes_keep_their_stream() -> None:
    class Whole(zoo.Net):
        def __init__(self) -> None:
            super().__init__(6)
            self.whole = nn.LayerNorm((6, 8, 8))

        def body(self, x: Tensor) -> Tensor:
            made: Tensor = self.whole(x)
            return made

    new, found = counted(Whole(), zoo.SHAPE)
    assert type(new.get_submodule("whole")) is nn.LayerNorm
    blended = found.coupling.group("stem").blended
    assert blended == "LayerNorm whole takes a mean over its filters"


@torch.no_grad()
def test_whole_groups_of_a_group_norm_come_without_a_change_to_the_others() -> None:
    net = zoo.built("grouped")
    found = find(net, zoo.SHAPE)
    wider, _, after = zoo.widened(
        net,
        _sgd(net),
        found,
        found.widths.replaced({"layer": 6}),
    )
    norm = wider.get_submodule("group_norm")
    assert isinstance(norm, nn.GroupNorm)
    assert (norm.num_groups, norm.num_channels) == (6, 18)  # Three channels are one filter.
    seen: dict[str, Tensor] = {}
    for name, one in (("old", copy.deepcopy(net)), ("new", copy.deepcopy(wider))):
        one.get_submodule("group_norm").register_forward_hook(
            lambda _module, _given, made, name=name: seen.__setitem__(name, made)
        )
        one.eval()(zoo.images())
    assert torch.equal(seen["new"][:, :12], seen["old"])
    assert after.coupling.group("layer").blended is None


def test_a_group_norm_of_one_group_keeps_its_stream_with_the_reason() -> None:
    class One(zoo.Net):
        def __init__(self) -> None:
            super().__init__(6)
            self.one = nn.GroupNorm(1, 6)

        def body(self, x: Tensor) -> Tensor:
            made: Tensor = self.one(x)
            return made

    _, found = counted(One(), zoo.SHAPE)
    assert found.coupling.group("stem").blended == "GroupNorm one takes a mean over its filters"
