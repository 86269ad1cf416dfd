from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from slbi.growth.seed import GradMaxSeed, OrthogonalSeed, RandomSeed, Seed, orthogonal, plots
from slbi.growth.widen import widen
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths

Trained = Callable[..., Any]


def _grown(trained: Trained, name: str, seed: Seed, add: int = 3) -> tuple[Backbone, Backbone, Any]:
    net, optimizer, images = trained(name)
    after = Widths({group: width + add for group, width in net.widths.items()})
    generator = torch.Generator().manual_seed(5)
    return net, widen(net, optimizer, after, seed=seed, generator=generator)[0], images


def _loss(images: Tensor) -> Callable[[nn.Module], Tensor]:
    return lambda net: cross_entropy(net(images), torch.arange(8) % 5)


@pytest.mark.parametrize("name", ["lenet5", "vgg11", "resnet20", "flat"])
def test_every_seed_leaves_the_output_unchanged(trained: Trained, name: str) -> None:
    _, _, batch = trained(name)
    for seed in (RandomSeed(), OrthogonalSeed(), GradMaxSeed(loss=_loss(batch), steps=1)):
        net, wider, images = _grown(trained, name, seed)
        torch.testing.assert_close(wider(images), net(images), rtol=0, atol=1e-12)


def test_random_filters_have_the_norm_of_fresh_ones(trained: Trained) -> None:
    net, wider, _ = _grown(trained, "vgg11", RandomSeed(), add=64)
    for plot in plots(wider, wider.found(), net.widths):
        if len(plot.columns) > 3:
            norm = plot.new().flatten(1).norm(dim=1).mean()
            assert norm == pytest.approx(2**0.5, rel=0.03), plot.name


@pytest.mark.parametrize("name", ["vgg11", "resnet20"])
def test_orthogonal_filters_leave_the_span_of_the_old_ones(trained: Trained, name: str) -> None:
    net, wider, _ = _grown(trained, name, OrthogonalSeed())
    checked = 0
    for plot in plots(wider, wider.found(), net.widths):
        old, new = plot.old().flatten(1), plot.new().flatten(1)
        norm = old.norm(dim=1).mean()
        torch.testing.assert_close(new.norm(dim=1), norm.expand(3), rtol=1e-9, atol=0)
        if len(old) + 3 <= old.shape[1]:
            products = new @ torch.cat([old, new]).T / norm**2
            products[:, len(old) :] -= torch.eye(3)
            assert products.abs().max() < 1e-12, plot.name
            checked += 1
    assert checked > 5


def test_beyond_the_dimensions_left_filters_are_random_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    old = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    drawn = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    rows = orthogonal(old, drawn)
    assert (rows[:2] @ old.T).abs().max() < 1e-14
    torch.testing.assert_close(rows[2:], drawn[2:] / drawn[2:].norm(dim=1, keepdim=True))


def test_a_dependent_filter_does_not_use_up_a_dimension() -> None:
    old = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    rows = orthogonal(old, torch.randn(2, 3, generator=torch.Generator().manual_seed(0)))
    assert rows[:, 0].abs().max() < 1e-6
    torch.testing.assert_close(rows @ rows.T, torch.eye(2))


def test_old_filters_of_no_norm_leave_fresh_ones_to_be_used(trained: Trained) -> None:
    net, optimizer, _ = trained("flat")
    with torch.no_grad():
        net.get_parameter("conv.weight").zero_()
    after = net.widths.replaced({"conv": 10})
    generator = torch.Generator().manual_seed(0)
    wider, _ = widen(net, optimizer, after, seed=OrthogonalSeed(), generator=generator)
    norms = wider.get_parameter("conv.weight").detach()[8:].flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.full_like(norms, 2**0.5))


def _felt(wider: Backbone, before: Widths, images: Tensor) -> float:
    """Return the squared gradient norm of the columns that read new filters."""
    wider.zero_grad()
    _loss(images)(wider).backward()  # type: ignore[no-untyped-call] # torch's own
    total = 0.0
    for group in wider.coupling().groups:
        for tie in group.ties:
            if tie.role == "reader":
                gradient = wider.get_parameter(tie.tensor).grad
                assert gradient is not None
                total += float(gradient[:, before[group.name] * tie.block :].square().sum())
    return total


@pytest.mark.parametrize("name", ["lenet5", "vgg11", "resnet20", "flat"])
@pytest.mark.parametrize("training", [True, False])
def test_gradmax_filters_make_their_readers_feel_more(
    trained: Trained, name: str, training: bool
) -> None:
    net, optimizer, images = trained(name)
    net.train(training)
    after = Widths({group: width + 3 for group, width in net.widths.items()})
    felt = {}
    for seed in (OrthogonalSeed(), GradMaxSeed(loss=_loss(images))):
        generator = torch.Generator().manual_seed(5)
        wider, _ = widen(net, optimizer, after, seed=seed, generator=generator)
        felt[type(seed)] = _felt(wider, net.widths, images)
    assert felt[GradMaxSeed] > 1.2 * felt[OrthogonalSeed] > 0


def test_gradmax_leaves_gradients_statistics_and_flags_alone(trained: Trained) -> None:
    net, optimizer, images = trained("vgg11")
    net.get_parameter("features.conv1.conv.weight").requires_grad_(requires_grad=False)
    after = net.widths.replaced({"conv2": 16})
    seed = GradMaxSeed(loss=_loss(images), steps=1)
    generator = torch.Generator().manual_seed(5)
    wider, _ = widen(net, optimizer, after, seed=seed, generator=generator)
    assert all(parameter.grad is None for parameter in wider.parameters())
    frozen = [name for name, p in wider.named_parameters() if not p.requires_grad]
    assert frozen == ["features.conv1.conv.weight"]
    for name, buffer in net.named_buffers():
        grown = wider.get_buffer(name)
        assert torch.equal(grown[: len(buffer)] if buffer.ndim else grown, buffer), name


def test_gradmax_needs_a_step(trained: Trained) -> None:
    _, _, images = trained("flat")
    with pytest.raises(ValueError, match="steps must be >= 1, got 0"):
        GradMaxSeed(loss=_loss(images), steps=0)
