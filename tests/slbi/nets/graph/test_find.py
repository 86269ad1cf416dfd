import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad, relu, softmax
from torch.nn.utils.parametrizations import weight_norm

from slbi.nets import backbones
from slbi.nets.coupling import Coupling, Fixed
from slbi.nets.graph.find import Found, find
from slbi.nets.shortcut import Shortcut
from tests import zoo


@pytest.mark.parametrize("name", zoo.CASES)
def test_every_way_of_sharing_filters_is_found(name: str) -> None:
    case = zoo.CASES[name]
    found = find(case.build(), zoo.SHAPE)
    assert dict(found.widths) == case.widths
    blended = [group.name for group in found.coupling.groups if group.blended is not None]
    assert tuple(blended) == case.blended


@pytest.mark.parametrize("name", zoo.CASES)
def test_every_entry_of_every_layer_is_a_filters_or_has_a_reason(name: str) -> None:
    net = zoo.CASES[name].build()
    found = find(net, zoo.SHAPE)
    covered: dict[tuple[str, int], int] = {}
    for group in found.coupling.groups:
        for tie in group.ties:
            key = (tie.tensor, tie.axis)
            covered[key] = covered.get(key, 0) + found.widths[group.name] * tie.block
    for fixed in found.coupling.fixed:
        assert fixed.axis is not None, fixed
        assert fixed.reason
        key = (fixed.tensor, fixed.axis)
        covered[key] = covered.get(key, 0) + fixed.length
    state = net.state_dict()
    for (tensor, axis), entries in covered.items():
        assert entries == state[tensor].shape[axis], (tensor, axis)
    for module, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.shape[1] > 1:
            assert {(f"{module}.weight", 0), (f"{module}.weight", 1)} <= covered.keys()


@pytest.mark.parametrize("name", backbones.names())
def test_the_coupling_found_is_the_one_declared(name: str) -> None:
    size = 28 if name == "lenet5" else 32
    net = backbones.build(name, in_channels=3, size=size, classes=10, device="meta")
    found = find(net, (3, size, size))
    assert _ties(found.coupling) == _ties(net.coupling())
    called = _called(found.coupling, net.coupling())
    assert {called[group]: width for group, width in found.widths.items()} == dict(net.widths)
    declared = {
        (route.buffer, route.source, route.target, route.absorber)
        for route in net.coupling().routes
    }
    assert {
        (route.buffer, called[route.source], called[route.target], route.absorber)
        for route in found.coupling.routes
    } == declared
    assert {fixed.reason for fixed in found.coupling.fixed} == {"input", "output"}


def _ties(coupling: Coupling) -> set[frozenset[object]]:
    return {frozenset({*group.ties, group.kind}) for group in coupling.groups}


def _called(found: Coupling, declared: Coupling) -> dict[str, str]:
    """Return the declared name of every group found."""
    names = {frozenset(group.ties): group.name for group in declared.groups}
    return {group.name: names[frozenset(group.ties)] for group in found.groups}


def test_the_network_is_left_as_it_is() -> None:
    net = zoo.built("residual").train()
    before = copy.deepcopy(net.state_dict())
    names = {name for name, _ in net.named_modules()}
    find(net, zoo.SHAPE)
    assert net.training
    assert {name for name, _ in net.named_modules()} == names
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_modules_keep_their_numbers_as_attributes() -> None:
    found = find(zoo.CASES["depthwise"].build(), zoo.SHAPE)
    values = {
        (attribute.module, attribute.name): attribute.value(
            found.widths.replaced({"expand": 9, "project": 2})
        )
        for attribute in found.coupling.attributes
    }
    assert values["depthwise", "groups"] == values["depthwise", "in_channels"] == 9
    assert values["depthwise", "out_channels"] == 18
    assert values["grouped", "groups"] == 2
    assert (values["grouped", "in_channels"], values["grouped", "out_channels"]) == (8, 4)


class _Fixed(zoo.Net):
    """A body that is given, over the filters of `layer`."""

    def __init__(self, last: int = 6) -> None:
        super().__init__(last)
        self.layer = zoo.conv(6, 8)
        self.back = zoo.conv(8, last)


class _Softmax(_Fixed):
    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.back(softmax(self.layer(x), dim=1))
        return out


class _Mean(_Fixed):
    def body(self, x: Tensor) -> Tensor:
        made = self.layer(x)
        out: Tensor = self.back(made - made.mean(1, keepdim=True))
        return out


class _Part(_Fixed):
    def __init__(self) -> None:
        super().__init__()
        self.back = zoo.conv(5, 6)

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.back(self.layer(x)[:, :5])
        return out


class _Number(_Fixed):
    def body(self, x: Tensor) -> Tensor:
        made = self.layer(x)
        out: Tensor = self.back(made.view(-1, 8, 8, 8))
        return out


class _Width(_Fixed):
    def body(self, x: Tensor) -> Tensor:
        made = self.layer(x)
        out: Tensor = self.back(made / made.shape[1])
        return out


class _Sorted(_Fixed):
    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.back(torch.cumsum(self.layer(x), dim=1))
        return out


class _Broadcast(_Fixed):
    def __init__(self) -> None:
        super().__init__()
        self.layer = zoo.conv(6, 1)

    def body(self, x: Tensor) -> Tensor:
        made: Tensor = x * self.layer(x)
        return made


class _Responses(_Fixed):
    def __init__(self) -> None:
        super().__init__()
        self.across = nn.LocalResponseNorm(3)

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.back(self.across(self.layer(x)))
        return out


class _Twisted(_Fixed):
    def body(self, x: Tensor) -> Tensor:
        made = self.layer(x)
        out: Tensor = self.back(made + made.flip(1))
        return out


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (_Softmax, "a softmax runs over its filters"),
        (_Mean, "mean runs over its filters"),
        (_Part, "a part of its filters is taken by number"),
        (_Number, "the code gives its width as a number"),
        (_Width, "its width enters the values"),
        (_Sorted, "cumsum is not among the operations with a rule"),
        (_Broadcast, "one filter is laid over many"),
        (_Responses, "LocalResponseNorm across is not among the operations with a rule"),
        (_Twisted, "flip is not among the operations with a rule"),
    ],
)
def test_what_cannot_grow_is_named_with_the_reason(kind: type[_Fixed], reason: str) -> None:
    found = find(kind(), zoo.SHAPE)
    assert "layer" not in found.widths
    assert "stem" in found.widths
    assert _reason(found, "layer.weight", 0) == reason


def _reason(found: Found, tensor: str, axis: int) -> str:
    (fixed,) = [f for f in found.coupling.fixed if (f.tensor, f.axis) == (tensor, axis)]
    return fixed.reason


def test_input_and_classes_are_fixed() -> None:
    found = find(zoo.CASES["residual"].build(), zoo.SHAPE)
    assert found.coupling.fixed == (
        Fixed(tensor="stem.weight", axis=1, offset=0, length=3, reason="input"),
        Fixed(tensor="head.weight", axis=0, offset=0, length=5, reason="output"),
        Fixed(tensor="head.bias", axis=0, offset=0, length=5, reason="output"),
    )


def test_outputs_in_a_dictionary_are_outputs() -> None:
    class Named(zoo.Net):
        def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override] # two outputs
            x = relu(self.norm(self.stem(x)))
            return {"logits": self.head(x.mean((2, 3))), "map": x}

    found = find(Named(6), zoo.SHAPE)
    assert not found.widths
    assert _reason(found, "stem.weight", 0) == "output"


class _Branching(zoo.Net):
    """Asks what its tensors hold, which no tracing can answer, within a submodule."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = zoo.conv(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = self.layer(x)
            steps = made.shape[0] if isinstance(made, Tensor) else len(made)
            for _ in range(steps - 1):
                made = made + x
            return made

    def __init__(self) -> None:
        super().__init__(4)
        self.block = self.Block()
        self.after = zoo.conv(6, 4)

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = relu(self.after(self.block(x)))
        return out


def test_a_submodule_that_cannot_be_traced_is_one_operation() -> None:
    found = find(_Branching(), zoo.SHAPE)
    assert dict(found.widths) == {"after": 4}
    reasons = {fixed.tensor: fixed.reason for fixed in found.coupling.fixed}
    assert reasons["block.layer.weight"] == "no operation with a rule uses it"
    assert reasons["stem.weight"] == "Block block is not among the operations with a rule"


def test_control_flow_by_shape_goes_the_way_of_the_shape() -> None:
    class Small(zoo.Net):
        def body(self, x: Tensor) -> Tensor:
            return max_pool2d(x, 2) if x.shape[-1] > 1 else x

    assert dict(find(Small(6), zoo.SHAPE).widths) == {"stem": 6}


def test_a_network_that_refuses_its_input_is_refused_with_its_reason() -> None:
    with pytest.raises(ValueError, match=r"traceable by torch.fx .* \(4, 8, 8\), got RuntimeError"):
        find(zoo.CASES["residual"].build(), (4, 8, 8))


class _Own(nn.Conv2d):
    """A class of its own, as many networks have: it is traced into."""


class _Derived(zoo.Net):
    def __init__(self) -> None:
        super().__init__(8)
        self.layer = _Own(6, 8, 3, padding=1)
        self.depthwise = _Own(8, 8, 3, padding=1, groups=8, bias=False)
        self.after = type("OwnNorm", (nn.BatchNorm2d,), {})(8)

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = relu(self.after(self.depthwise(self.layer(x))))
        return out


def test_layers_of_derived_classes_are_known_by_what_they_call() -> None:
    found = find(_Derived(), zoo.SHAPE)
    assert dict(found.widths) == {"stem": 6, "layer": 8}
    (group,) = [group for group in found.coupling.groups if group.name == "layer"]
    tied = {(tie.tensor, tie.axis, tie.role, tie.fill) for tie in group.ties}
    assert tied == {
        ("layer.weight", 0, "producer", 0.0),
        ("layer.bias", 0, "producer", 0.0),
        ("depthwise.weight", 0, "producer", 0.0),
        ("after.weight", 0, "norm", 1.0),
        ("after.bias", 0, "norm", 0.0),
        ("after.running_mean", 0, "norm", 0.0),
        ("after.running_var", 0, "norm", 1.0),
        ("head.weight", 1, "reader", 0.0),
    }
    wider = found.widths.replaced({"layer": 9})
    numbers = {(a.module, a.name): a.value(wider) for a in found.coupling.attributes}
    assert numbers["depthwise", "groups"] == numbers["after", "num_features"] == 9


class _Copied(_Fixed):
    def body(self, x: Tensor) -> Tensor:
        made = torch.zeros(2, 8, 8, 8)
        made.copy_(self.layer(x))
        out: Tensor = self.back(made)
        return out


def test_what_is_copied_elsewhere_in_place_is_fixed() -> None:
    found = find(_Copied(), zoo.SHAPE)
    assert dict(found.widths) == {"stem": 6, "back": 6}
    reason = "copy_ is not among the operations with a rule"
    assert _reason(found, "layer.weight", 0) == reason


class _Written(_Fixed):
    def body(self, x: Tensor) -> Tensor:
        made = self.layer(x)
        made[:, 0] = 0.0
        out: Tensor = self.back(made)
        return out


def test_what_no_trace_can_follow_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"traceable by torch.fx .* does not support item assign"):
        find(_Written(), zoo.SHAPE)


class _Parametrized(_Fixed):
    def __init__(self) -> None:
        super().__init__()
        self.layer = weight_norm(self.layer)

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.back(relu(self.layer(x)))
        return out


def test_a_weight_that_is_computed_is_fixed() -> None:
    found = find(_Parametrized(), zoo.SHAPE)
    assert dict(found.widths) == {"back": 6}
    reason = "ParametrizedConv2d layer is not among the operations with a rule"
    assert _reason(found, "stem.weight", 0) == reason


class _Routed(zoo.Net):
    """A table into filters of which the first ones stay."""

    def __init__(self) -> None:
        super().__init__(8)
        self.layer = zoo.conv(6, 8)
        self.shortcut = Shortcut(6, 8, stride=1)
        self.part = zoo.conv(5, 3)

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = relu(self.layer(x) + self.shortcut(x))
        return out + pad(self.part(out[:, :5]), (0, 0, 0, 0, 0, 5))


def test_a_table_into_filters_that_stay_fixes_both_its_sides() -> None:
    found = find(_Routed(), zoo.SHAPE)
    assert not found.coupling.routes
    assert not found.widths
    assert _reason(found, "stem.weight", 0) == "a table carries only some of its filters"
