import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from slbi.nets.graph.find import find
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


def test_control_flow_by_shape_goes_the_way_of_the_shape() -> None:
    class Small(zoo.Net):
        def body(self, x: Tensor) -> Tensor:
            return max_pool2d(x, 2) if x.shape[-1] > 1 else x

    assert dict(find(Small(6), zoo.SHAPE).widths) == {"stem": 6}


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


class _Expanded(zoo.Net):
    """As many write squeeze and excite, with a drop of whole samples."""

    def __init__(self) -> None:
        super().__init__(6)
        self.squeeze = nn.Linear(6, 3)
        self.excite = nn.Linear(3, 6)

    def body(self, x: Tensor) -> Tensor:
        n, channels, _, _ = x.size()
        gate = self.excite(relu(self.squeeze(x.mean((2, 3))))).view(n, channels, 1, 1)
        keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(0.9)
        out: Tensor = x + (x * gate.expand_as(x)) * keep + torch.zeros_like(x)
        return out


def test_shapes_taken_from_other_tensors_are_followed() -> None:
    found = find(_Expanded(), zoo.SHAPE)
    assert dict(found.widths) == {"stem": 6, "squeeze": 3}
