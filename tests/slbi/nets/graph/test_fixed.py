"""What cannot grow is fixed, and says why."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu, softmax
from torch.nn.utils.parametrizations import weight_norm

from slbi.nets.coupling import Fixed
from slbi.nets.graph.find import Found, find
from slbi.nets.shortcut import Shortcut
from tests import zoo


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


def test_a_network_that_refuses_its_input_is_refused_with_its_reason() -> None:
    with pytest.raises(ValueError, match=r"traceable by torch.fx .* \(4, 8, 8\), got RuntimeError"):
        find(zoo.CASES["residual"].build(), (4, 8, 8))


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


class _Clamped(_Fixed):
    def body(self, x: Tensor) -> Tensor:
        made = self.layer(x)
        out: Tensor = self.back(made.clamp(max=made.shape[1]))
        return out


class _Stranger(_Fixed):
    def body(self, x: Tensor) -> Tensor:
        made = self.layer(x)
        out: Tensor = self.back(made - made.mean(dim=(), keepdim=True))
        return out


class _Retyped(_Fixed):
    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.back(self.layer(x).view(torch.int32).view(torch.float32))
        return out


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (_Stranger, "mean is used in a way without a rule"),
        (_Clamped, "its width enters the values"),
        (_Retyped, "view is used in a way without a rule"),
    ],
)
def test_arguments_that_no_rule_expects_fix_what_they_touch(
    kind: type[_Fixed], reason: str
) -> None:
    found = find(kind(), zoo.SHAPE)
    assert "layer" not in found.widths
    assert _reason(found, "layer.weight", 0) == reason


def _reason(found: Found, tensor: str, axis: int) -> str:
    (fixed,) = [f for f in found.coupling.fixed if (f.tensor, f.axis) == (tensor, axis)]
    return fixed.reason
