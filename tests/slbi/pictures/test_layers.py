import pytest
import torch
from torch import nn

from slbi.pictures.layers import find_module, find_weight, layer_names


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))


def test_the_layers_are_the_convolutions_and_linear_layers_in_order() -> None:
    assert layer_names(net()) == ("0", "3")


def test_any_module_is_found_by_its_name() -> None:
    assert isinstance(find_module(net(), "1"), nn.BatchNorm2d)


@pytest.mark.parametrize("name", ["conv9", ""])
def test_an_unknown_layer_is_named_beside_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=f"layer must be one of 0, 3, got '{name}'"):
        find_module(net(), name)


def test_a_weight_comes_without_its_gradient() -> None:
    made = net()
    weight = find_weight(made, "3")
    assert not weight.requires_grad
    torch.testing.assert_close(weight, made.get_parameter("3.weight").detach())


def test_a_norm_has_no_filters_to_show() -> None:
    with pytest.raises(ValueError, match=r"\(0, 3\), got '1', a BatchNorm2d"):
        find_weight(net(), "1")
