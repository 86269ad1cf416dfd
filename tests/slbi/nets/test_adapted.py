import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from slbi.growth.seed import RandomSeed
from slbi.growth.widen import widen
from slbi.nets.adapted import Adapted
from slbi.nets.sketch import cost
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
    """One with a parameter of its own, for which no initial value is known."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.scale = nn.Parameter(torch.ones(6, 1, 1))
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.out((self.conv(x) * self.scale).mean(dim=(2, 3)))
        return logits


class Library(Adapted):
    @classmethod
    def names(cls) -> tuple[str, ...]:
        return ("foreign", "scaled")

    @classmethod
    def smallest(cls, name: str) -> int:  # noqa: ARG003 -- all alike
        return 8

    @classmethod
    def standard(cls, name: str, *, in_channels: int, size: int, classes: int) -> nn.Module:  # noqa: ARG003 -- likewise
        return Foreign(in_channels, classes) if name == "foreign" else Scaled()


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


def test_the_sketch_costs_what_the_network_costs() -> None:
    widths = Widths({"stem": 3, "inner": 7, "hidden": 2})
    net = build(widths=widths)
    shape = {"in_channels": 3, "size": 8, "classes": 4}
    assert cost(net.sketch(), widths, **shape) == net.cost()
    assert net.cost()[0] == sum(parameter.numel() for parameter in net.parameters())


def test_the_same_generator_gives_the_same_weights_whatever_was_drawn_before() -> None:
    one, other = build(), build()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_classifier_is_the_last_linear_layer() -> None:
    net = build()
    assert net.classifier is net.net.get_submodule("out")


def test_a_parameter_without_a_known_initial_value_is_named() -> None:
    with pytest.raises(ValueError, match="'net' is a Scaled"):
        build("scaled")


def test_a_size_below_the_smallest_is_refused() -> None:
    with pytest.raises(ValueError, match="size must be >= 8 px for foreign, got 7"):
        Library.check_size("foreign", 7)
