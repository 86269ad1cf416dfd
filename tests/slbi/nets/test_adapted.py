import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.utils.flop_counter import FlopCounterMode

from slbi.growth.seed import RandomSeed
from slbi.growth.widen import widen
from slbi.nets.adapted import Adapted
from slbi.nets.widths import Widths
from slbi.pruning.mask import masked
from slbi.pruning.slice import slice_filters


class Foreign(nn.Module):
    """A network as another library would write it: a residual sum, a flatten, two linear layers."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.inner = nn.Conv2d(6, 4, 3, padding=1, bias=False)
        self.inner_norm = nn.BatchNorm2d(4)
        self.outer = nn.Conv2d(4, 6, 3, padding=1, bias=False)
        self.outer_norm = nn.BatchNorm2d(6)
        self.hidden = nn.Linear(6 * 16, 9)
        self.out = nn.Linear(9, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.norm(self.stem(x)))
        x = relu(x + self.outer_norm(self.outer(relu(self.inner_norm(self.inner(x))))))
        x = nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)
        logits: Tensor = self.out(relu(self.hidden(x)))
        return logits


class Scaled(nn.Module):
    """One with parameters and a table of its own, one of them drawn, in a classifier of one px."""

    def __init__(self, in_channels: int, classes: int, *, unset: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 6, 3)
        self.norm = nn.GroupNorm(1, 6)
        self.scale = nn.Parameter(torch.full((6, 1, 1), 1e-6))
        self.shift = nn.Parameter(torch.empty(1, 6, 1, 1).normal_())
        self.register_buffer("order", torch.arange(6).flip(0), persistent=False)
        self.order: Tensor
        if unset:
            self.unknown = nn.Parameter(torch.empty(6, 1, 1, device=None))
        self.out = nn.Conv2d(6, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))[:, self.order] * self.scale + self.shift
        logits: Tensor = self.out(x).mean(dim=(2, 3))
        return logits


class Library(Adapted):
    @classmethod
    def names(cls) -> tuple[str, ...]:
        return ("foreign", "scaled", "unset")

    @classmethod
    def usual(cls, name: str) -> int:  # noqa: ARG003 -- all alike
        return 8

    @classmethod
    def standard(cls, name: str, *, in_channels: int, size: int, classes: int) -> nn.Module:  # noqa: ARG003 -- likewise
        if name == "foreign":
            return Foreign(in_channels, classes)
        return Scaled(in_channels, classes, unset=name == "unset")


def build(name: str = "foreign", widths: Widths | None = None) -> Library:
    net = Library.built(
        name,
        Library.standard_widths(name) if widths is None else widths,
        in_channels=3,
        size=8,
        classes=4,
        device=torch.device("cpu"),
        dtype=torch.float64,
    )
    net.initialise(torch.Generator().manual_seed(0))
    return net


def used(widths: Widths | None = None) -> Library:
    """Return one whose norms are as if it had been trained, in evaluation."""
    net = build(widths=widths)
    generator = torch.Generator().manual_seed(1)
    for name, tensor in [*net.named_buffers(), *net.named_parameters()]:
        if "norm" in name and tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5, generator=generator)
    return net.eval()


def images() -> Tensor:
    return torch.randn(5, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_a_residual_sum_is_one_group_and_the_classes_are_none() -> None:
    assert dict(Library.standard_widths("foreign")) == {"stem": 6, "inner": 4, "hidden": 9}


def test_any_widths_can_be_built_and_are_what_the_layers_have() -> None:
    net = build(widths=Widths({"stem": 3, "inner": 7, "hidden": 2}))
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    assert shapes["net.outer.weight"] == (3, 7, 3, 3)
    assert shapes["net.hidden.weight"] == (2, 3 * 16)
    assert shapes["net.out.weight"] == (4, 2)
    assert net(images()).shape == (5, 4)


def test_widening_and_slicing_go_as_for_a_declared_backbone() -> None:
    net = used()
    wider, _ = widen(
        net,
        torch.optim.SGD(net.parameters(), lr=0.1),
        Widths({"stem": 9, "inner": 6, "hidden": 12}),
        seed=RandomSeed(),
        generator=torch.Generator().manual_seed(3),
    )
    assert torch.allclose(wider(images()), net(images()), rtol=0, atol=1e-12)
    keep = {
        "stem": torch.tensor([True, False, True, True, False, True]),
        "inner": torch.tensor([False, True, True, False]),
        "hidden": torch.arange(9) % 2 == 0,
    }
    silent = masked(net, keep, silent=True)
    cut = slice_filters(silent, None, keep)
    assert dict(cut.net.widths) == {"stem": 4, "inner": 2, "hidden": 5}
    assert cut.exact
    assert torch.allclose(cut.net(images()), silent(images()), rtol=0, atol=1e-12)


def test_the_outline_costs_what_torch_counts() -> None:
    net = build(widths=Widths({"stem": 3, "inner": 7, "hidden": 2}))
    with FlopCounterMode(display=False) as counter:
        net(images()[:1])
    params = sum(parameter.numel() for parameter in net.parameters())
    assert net.cost() == (params, counter.get_total_flops() // 2)


def test_the_same_generator_gives_the_same_weights_whatever_was_drawn_before() -> None:
    one, other = build(), build()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_classifier_is_the_last_linear_layer() -> None:
    net = build()
    assert net.classifier is net.net.get_submodule("out")


def test_a_convolution_may_be_the_classifier() -> None:
    net = build("scaled")
    assert net.classifier is net.net.get_submodule("out")


def test_what_is_no_layer_is_as_published_and_drawn_by_the_generator_alone() -> None:
    torch.manual_seed(1)
    one = build("scaled")
    torch.manual_seed(2)
    before = torch.get_rng_state()
    other = build("scaled")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.net.get_parameter("shift"), other.net.get_parameter("shift"))
    assert one.net.get_parameter("shift").std() > 0.1
    torch.testing.assert_close(
        one.net.get_parameter("scale").detach(), torch.full((6, 1, 1), 1e-6).double()
    )
    assert one.net.get_buffer("order").tolist() == [5, 4, 3, 2, 1, 0]
    assert bool((one.net.get_parameter("norm.weight") == 1).all())
    redrawn = Library.built(
        "scaled",
        one.widths,
        in_channels=3,
        size=8,
        classes=4,
        device=torch.device("cpu"),
        dtype=torch.float64,
    )
    redrawn.initialise(torch.Generator().manual_seed(9))
    assert not torch.equal(redrawn.net.get_parameter("shift"), one.net.get_parameter("shift"))


def test_a_parameter_without_a_known_initial_value_is_named() -> None:
    with pytest.raises(ValueError, match=r"'unknown' of '', a Scaled"):
        build("unset")


def test_a_size_that_the_network_cannot_take_is_refused_with_the_reason() -> None:
    Library.check_size("scaled", 3)
    with pytest.raises(ValueError, match=r"suit scaled with its standard stem, got 2 px: .*Kernel"):
        Library.check_size("scaled", 2)
