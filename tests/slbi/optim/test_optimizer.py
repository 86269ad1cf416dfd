import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import slbi.optim.optimizer as module
from slbi import SLBI


class Net(nn.Module):
    """A convolution, its normalisation and a classifier, for (N, 2, 6, 6), in float64."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(2, 4, 3, dtype=torch.float64)
        self.norm = nn.BatchNorm2d(4, dtype=torch.float64)
        self.fc = nn.Linear(64, 3, dtype=torch.float64)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.norm(self.conv(images))
        logits: Tensor = self.fc(maps.relu().flatten(1))
        return logits


def with_twins(net: Net, **options: float) -> SLBI:
    """An SLBI with a twin by filter, one by entry, and a plain group."""
    groups: list[dict[str, Any]] = [
        {"params": [net.conv.weight], "structure": "filter"},
        {"params": [net.fc.weight], "structure": "element", "threshold": 0.05},
        {"params": [p for p in net.parameters() if p.ndim == 1]},
    ]
    return SLBI([group | options for group in groups], lr=0.1, mu=2.0)


def train(net: Net, optimizer: torch.optim.Optimizer, steps: range) -> None:
    """Take some steps; the batch depends on the number of the step only."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(8, 2, 6, 6, generator=generator, dtype=torch.float64)
        labels = torch.randint(3, (8,), generator=generator)
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(net(images), labels))
        optimizer.step()


def parameters_equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@st.composite
def sgd_settings(draw: st.DrawFn) -> dict[str, Any]:
    momentum = draw(st.sampled_from([0.0, 0.3, 0.9]))
    nesterov = momentum > 0 and draw(st.booleans())
    return {
        "lr": draw(st.floats(0, 1)),
        "momentum": momentum,
        "nesterov": nesterov,
        "dampening": 0.0 if nesterov else draw(st.floats(0, 1)),
        "weight_decay": draw(st.sampled_from([0.0, 1e-4, 0.1])),
    }


@given(sgd_settings(), st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64]))
@settings(deadline=None, max_examples=100)
def test_a_plain_group_is_torch_sgd_bit_for_bit(
    options: dict[str, Any], seed: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def normal(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    shapes = [(3, 2, 2, 2), (4, 3), (2, 3, 2)]
    ours = [nn.Parameter(normal(shape)) for shape in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    optimizers = SLBI(ours, **options), torch.optim.SGD(theirs, foreach=True, **options)
    for _ in range(5):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = normal(tuple(one.shape))
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@given(sgd_settings(), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_the_callers_gradients_are_never_altered(options: dict[str, Any], seed: int) -> None:
    net = Net(seed)
    optimizer = with_twins(net, **options)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        for parameter in net.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        grads = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
        before = [grad.clone() for grad in grads]
        optimizer.step()
        assert all(torch.equal(one, other) for one, other in zip(before, grads, strict=True))


def test_vectors_are_not_decayed() -> None:
    matrix, vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    for parameter in (matrix, vector):
        parameter.grad = torch.zeros_like(parameter)
    SLBI([matrix, vector], lr=0.5, weight_decay=0.1).step()
    assert torch.equal(vector, torch.ones(2))
    torch.testing.assert_close(matrix.detach(), torch.full((2, 2), 0.95))


def test_gamma_z_and_support_are_empty_before_the_first_step() -> None:
    net = Net()
    optimizer = with_twins(net)
    for weight, size in ((net.conv.weight, (4,)), (net.fc.weight, (3, 64))):
        assert torch.equal(optimizer.gamma(weight), torch.zeros_like(weight))
        assert torch.equal(optimizer.z(weight), torch.zeros_like(weight))
        assert torch.equal(optimizer.support(weight), torch.zeros(size, dtype=torch.bool))
    assert not optimizer.state


def test_the_support_is_where_gamma_is_not_zero() -> None:
    net = Net()
    optimizer = with_twins(net)
    train(net, optimizer, range(40))
    conv, linear = net.conv.weight, net.fc.weight
    by_filter = optimizer.gamma(conv).flatten(1).any(dim=1)
    assert torch.equal(optimizer.support(conv), by_filter)
    assert torch.equal(optimizer.support(linear), optimizer.gamma(linear) != 0)
    assert by_filter.any()
    assert 0 < optimizer.support(linear).sum() < linear.numel()


def test_what_is_asked_for_is_not_the_state_itself() -> None:
    net = Net()
    optimizer = with_twins(net)
    train(net, optimizer, range(3))
    for tensor in (optimizer.z(net.conv.weight), optimizer.gamma(net.conv.weight)):
        assert not tensor.requires_grad
        tensor.fill_(7)
    assert not (optimizer.z(net.conv.weight) == 7).any()


@pytest.mark.parametrize("name", ["gamma", "z", "support"])
def test_a_parameter_without_a_twin_is_refused(name: str) -> None:
    net = Net()
    optimizer = with_twins(net)
    ask: Callable[[Tensor], Tensor] = getattr(optimizer, name)
    with pytest.raises(ValueError, match=r"structure filter, column, element, .* plain group"):
        ask(net.norm.weight)
    with pytest.raises(ValueError, match="must belong to this optimizer"):
        ask(Net().conv.weight)


def test_step_returns_what_the_closure_returns() -> None:
    net = Net()
    optimizer = with_twins(net)
    images = torch.randn(4, 2, 6, 6, dtype=torch.float64)

    def closure() -> float:
        optimizer.zero_grad()
        loss = net(images).square().mean()
        torch.autograd.backward(loss)
        return float(loss.detach())

    first = optimizer.step(closure)
    assert first == pytest.approx(Net()(images).square().mean().item())
    assert optimizer.step(closure) < first
    assert optimizer.step() is None


def test_a_run_continues_bit_for_bit_from_its_saved_state() -> None:
    net, resumed = Net(), Net(seed=1)
    optimizer = with_twins(net)
    train(net, optimizer, range(5))
    file = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    train(net, optimizer, range(5, 12))

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed.load_state_dict(saved["net"])
    second = with_twins(resumed, lr=9.0)
    second.load_state_dict(saved["optimizer"])
    train(resumed, second, range(5, 12))
    assert parameters_equal(net, resumed)
    for one, other in ((net.conv, resumed.conv), (net.fc, resumed.fc)):
        assert torch.equal(optimizer.z(one.weight), second.z(other.weight))
        assert torch.equal(optimizer.gamma(one.weight), second.gamma(other.weight))


def test_a_state_loaded_without_a_copy_is_not_shared() -> None:
    net = Net()
    optimizer = with_twins(net)
    train(net, optimizer, range(3))
    twin = Net()
    second = with_twins(twin)
    second.load_state_dict(optimizer.state_dict())
    before = optimizer.z(net.conv.weight)
    train(twin, second, range(3, 6))
    assert torch.equal(optimizer.z(net.conv.weight), before)


def test_a_deep_copy_continues_bit_for_bit() -> None:
    net = Net()
    optimizer = with_twins(net)
    train(net, optimizer, range(3))
    twin, second = copy.deepcopy((net, optimizer))
    for pair in ((net, optimizer), (twin, second)):
        train(*pair, range(3, 6))
    assert parameters_equal(net, twin)


def test_a_scheduler_sets_the_rate_of_every_group() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = SLBI([weight], lr=1.0, momentum=0.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1)
    for _ in range(3):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), -1.11))


def test_a_parameter_without_a_gradient_stays_and_gets_no_state() -> None:
    net = Net()
    optimizer = with_twins(net, weight_decay=0.1)
    net.conv.weight.grad = torch.ones_like(net.conv.weight)
    before = net.fc.weight.detach().clone()
    optimizer.step()
    assert torch.equal(net.fc.weight, before)
    assert list(optimizer.state) == [net.conv.weight]


def test_a_sparse_gradient_is_refused() -> None:
    weight = nn.Parameter(torch.zeros(3, 2))
    weight.grad = torch.ones(3, 2).to_sparse()
    with pytest.raises(ValueError, match=r"gradients must be dense, got layout torch\.sparse_coo"):
        SLBI([weight], lr=0.1).step()


def test_a_group_may_set_every_number_for_itself() -> None:
    one, other = (nn.Parameter(torch.zeros(2, 2)) for _ in range(2))
    groups: list[dict[str, Any]] = [{"params": [one]}, {"params": [other], "lr": 0.1, "kappa": 3.0}]
    optimizer = SLBI(groups, lr=1.0, momentum=0.0)
    for weight in (one, other):
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    torch.testing.assert_close(one.detach(), torch.full((2, 2), -1.0))
    torch.testing.assert_close(other.detach(), torch.full((2, 2), -0.3))


def test_the_size_of_a_batch_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = []
    for entries in (1, 100, 2**20):
        monkeypatch.setattr(module, "BATCH_ENTRIES", entries)
        nets.append(Net())
        train(nets[-1], with_twins(nets[-1], weight_decay=1e-3, nesterov=True), range(10))
    assert parameters_equal(nets[0], nets[2])
    assert parameters_equal(nets[1], nets[2])


def test_a_group_for_every_tensor_changes_no_bit_and_costs_no_launch() -> None:
    nets, launches = (Net(), Net()), []
    grouped = with_twins(nets[0], weight_decay=1e-3)
    apart = SLBI(
        [
            group | {"params": [parameter]}
            for group in with_twins(nets[1], weight_decay=1e-3).param_groups
            for parameter in group["params"]
        ],
        lr=9.0,
    )
    for net, optimizer in zip(nets, (grouped, apart), strict=True):
        train(net, optimizer, range(10))
        with torch.profiler.profile() as profile:
            optimizer.step()
        launches.append(sum("foreach" in event.name for event in profile.events() or []))
    assert len(apart.param_groups) == 6
    assert parameters_equal(*nets)
    assert launches[0] == launches[1] > 0


def test_channels_last_weights_move_as_contiguous_ones() -> None:
    net, twin = Net(), Net().to(memory_format=torch.channels_last)
    for each in (net, twin):
        train(each, with_twins(each), range(10))
    pairs = zip(net.parameters(), twin.parameters(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_a_step_of_filter_twins_allocates_nothing_of_a_weights_size() -> None:
    weight = nn.Parameter(torch.randn(64, 64, 3, 3))
    optimizer = SLBI([weight], lr=0.1, structure="filter", weight_decay=1e-4)
    weight.grad = torch.randn_like(weight)
    optimizer.step()
    with torch.profiler.profile(profile_memory=True) as profile:
        optimizer.step()
    largest = max(event.cpu_memory_usage for event in profile.events() or [])
    assert 0 < largest < weight.numel() * weight.element_size() / 10


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_moves_as_the_cpu_does() -> None:
    nets = Net(), Net().cuda()
    optimizers = [with_twins(net, weight_decay=1e-3) for net in nets]
    for step in range(30):
        generator = torch.Generator().manual_seed(step)
        for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=generator, dtype=torch.float64)
            other.grad = one.grad.cuda()
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one, other.cpu(), rtol=1e-9, atol=1e-12)
    supports = [
        opt.support(net.conv.weight).cpu() for opt, net in zip(optimizers, nets, strict=True)
    ]
    assert torch.equal(*supports)
