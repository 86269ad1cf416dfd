from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from slbi.growth.rule import due, fills, group_support, shared, supports
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths

Trained = Callable[..., Any]


class Chosen:
    """An optimizer whose supports are given, by name of the weight."""

    def __init__(self, net: Backbone, structure: str | None, chosen: dict[str, Tensor]) -> None:
        self.param_groups: list[dict[str, Any]] = [
            {"params": [net.get_parameter(name)], "structure": structure} for name in chosen
        ]
        self._chosen: dict[Tensor, Tensor] = {
            net.get_parameter(name): mask for name, mask in chosen.items()
        }

    def support(self, parameter: Tensor, /) -> Tensor:
        return self._chosen[parameter]


def _mask(length: int, *chosen: int) -> Tensor:
    mask = torch.zeros(length, dtype=torch.bool)
    mask[list(chosen)] = True
    return mask


def test_a_stream_is_selected_by_any_of_its_producers(trained: Trained) -> None:
    net, _, _ = trained("resnet20")
    chosen = Chosen(
        net,
        "filter",
        {"stem_conv.weight": _mask(16, 0, 3), "stages.stage1.block2.conv2.weight": _mask(16, 3, 9)},
    )
    assert torch.equal(group_support(chosen, net, "stage1"), _mask(16, 0, 3, 9))
    assert fills(chosen, net) == {"stage1": 3 / 16}


def test_a_filter_is_selected_with_the_first_of_its_entries(trained: Trained) -> None:
    net, _, _ = trained("flat")
    entries = torch.zeros(9, 128, dtype=torch.bool)
    entries[2, 100] = entries[5, 0] = True
    chosen = Chosen(net, "element", {"fc.weight": entries})
    assert torch.equal(group_support(chosen, net, "fc"), _mask(9, 2, 5))


@pytest.mark.parametrize("structure", [None, "column"])
def test_a_group_without_a_twin_has_no_support(trained: Trained, structure: str | None) -> None:
    net, _, _ = trained("flat")
    chosen = Chosen(net, structure, {"fc.weight": torch.ones(9, 128, dtype=torch.bool)})
    with pytest.raises(ValueError, match="a producer of 'fc' must have structure 'filter'"):
        group_support(chosen, net, "fc")
    assert fills(chosen, net) == {}


def test_fills_are_those_of_slbi(trained: Trained) -> None:
    net, optimizer, _ = trained("lenet5", optimizer="slbi", steps=12)
    found = fills(optimizer, net)
    assert tuple(found) == ("conv1", "conv2", "conv3", "fc1")
    selected = optimizer.gamma(net.get_parameter("conv2.weight")).flatten(1).any(dim=1)
    assert 0 < float(selected.double().mean()) == found["conv2"]
    assert all(support.dtype == torch.bool for support in supports(optimizer, net).values())


def test_a_group_is_due_when_its_fill_reaches_the_threshold() -> None:
    assert due({"a": 0.79, "b": 0.8, "c": 1.0}, 0.8) == ("b", "c")


def test_a_group_may_have_a_threshold_of_its_own() -> None:
    assert due({"a": 0.5, "b": 0.8}, 0.8, {"a": 0.5, "b": 0.9}) == ("a",)


@pytest.mark.parametrize("threshold", [0.0, 1.5, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\]"):
        due({"a": 0.5}, threshold)
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\]"):
        due({"a": 0.5}, 0.5, {"a": threshold})


def test_a_threshold_for_an_unknown_group_is_refused() -> None:
    with pytest.raises(ValueError, match="must be for one of a, got one for 'b'"):
        due({"a": 0.5}, 0.5, {"b": 0.5})


def test_groups_that_grow_together_have_the_fill_of_all_their_filters() -> None:
    widths = Widths({"a": 10, "b": 30, "c": 7})
    fills = {"a": 1.0, "b": 0.6, "c": 0.1}
    told = shared(fills, widths, [("a", "b")])
    assert told == {"a": pytest.approx(0.7), "b": pytest.approx(0.7), "c": 0.1}
    assert shared({"a": 0.5}, widths, [("a", "b")]) == {"a": 0.5}
