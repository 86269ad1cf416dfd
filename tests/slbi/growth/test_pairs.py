import pytest
import torch
from torch import Tensor, nn

from bench.family.networks import NAMES, Standard
from slbi.growth.pairs import QUIET, PairedSeed
from slbi.growth.widen import widen
from slbi.nets.graph.find import Found


def trained_a_little(net: nn.Module, images: Tensor) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(images).square().mean().backward()
        optimizer.step()


def paired(name: str) -> tuple[nn.Module, nn.Module, Found, Found, Tensor]:
    standard = Standard(name, 1, 8, 10)
    small = standard.uniform(standard.limits((0.1,))[0])
    wide = standard.raised(small, standard.limits((0.4,))[0])
    net = standard.fresh(small, torch.Generator().manual_seed(0)).double()
    images = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    trained_a_little(net, images)
    before = standard.found().resized(small)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    source = torch.Generator().manual_seed(2)
    wider, _ = widen(net, optimizer, wide, found=before, seed=PairedSeed(), generator=source)
    after = before.resized(wide)
    return net, wider, before, after, images


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [True, False])
def test_pairs_leave_the_function_but_for_the_epsilon_of_norms(name: str, training: bool) -> None:
    net, wider, _, _, images = paired(name)
    with torch.no_grad():
        said, after = net.train(training)(images), wider.train(training)(images)
    assert (said - after).abs().max() < 1e-2 * said.abs().max()


def test_what_new_filters_are_read_with_is_half_as_large_as_what_old_ones_are() -> None:
    _, wider, before, after, _ = paired("small-vgg")
    weight = wider.get_parameter("conv2.weight")
    old, new = before.widths["conv1"], after.widths["conv1"]
    assert new - old > 1
    assert torch.allclose(weight[:, old:].sum(dim=1), torch.zeros(()).double(), atol=1e-12)
    sizes = [part.square().mean().sqrt().item() for part in (weight[:, :old], weight[:, old:])]
    assert sizes[1] == pytest.approx(QUIET * sizes[0], rel=0.3)
    for scales in (
        wider.get_parameter("conv1_norm.weight"),
        wider.get_buffer("conv1_norm.running_var"),
    ):
        assert float(scales[:old].detach().std()) > 0
        assert torch.equal(scales[old:], scales[:old].mean().expand(new - old))


@pytest.mark.parametrize("more", [1, 2, 3, 5])
@pytest.mark.parametrize("training", [True, False])
def test_any_number_of_new_filters_leaves_the_function(more: int, training: bool) -> None:
    standard = Standard("small-vgg", 1, 8, 10)
    small = standard.uniform(standard.limits((0.1,))[0])
    net = standard.fresh(small, torch.Generator().manual_seed(0)).double()
    images = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    trained_a_little(net, images)
    found = standard.found().resized(small)
    wide = small.replaced({"conv3": small["conv3"] + more})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    source = torch.Generator().manual_seed(2)
    wider, _ = widen(net, optimizer, wide, found=found, seed=PairedSeed(), generator=source)
    with torch.no_grad():
        said, after = net.train(training)(images), wider.train(training)(images)
    assert (said - after).abs().max() < 1e-2 * said.abs().max()
    read = wider.get_parameter("conv4.weight")[:, small["conv3"] :]
    if more > 1:
        assert torch.allclose(read.sum(dim=1), torch.zeros(()).double(), atol=1e-12)
    sizes = read.square().mean(dim=(0, 2, 3)).sqrt()
    assert sizes.min() > 0.3 * sizes.max()


@pytest.mark.parametrize("all_fed", [False, True])
def test_a_single_filter_of_a_stream_is_a_copy_of_one_that_no_shortcut_feeds(all_fed: bool) -> None:
    standard = Standard("resnet20", 1, 8, 10)
    small = standard.uniform(standard.limits((0.1,))[0])
    if all_fed:
        small = small.replaced({"stage2": small["stage1"]})
    assert (small["stage2"] == small["stage1"]) == all_fed
    found = standard.found().resized(small)
    net = standard.fresh(small, torch.Generator().manual_seed(0)).double()
    wide = small.replaced({group: small[group] + 1 for group in ("stage2", "stage2.block1")})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    source = torch.Generator().manual_seed(2)
    wider, _ = widen(net, optimizer, wide, found=found, seed=PairedSeed(), generator=source)
    images = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        assert (net(images) - wider(images)).abs().max() < 1e-9
    read = wider.get_parameter("stages.stage3.block1.conv1.weight")[:, -1]
    assert bool((read == 0).all()) == all_fed
    assert (wider.get_parameter("stages.stage2.block1.conv2.weight")[:, -1] != 0).any()
