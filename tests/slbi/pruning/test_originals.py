import pytest
import torch
from torch import Tensor, nn

from slbi.pruning.originals import Originals


def flags(*bits: int) -> Tensor:
    return torch.tensor(bits, dtype=torch.bool)


def linear() -> tuple[dict[str, Tensor], Tensor]:
    """The parameters of a linear layer, and its weight as it is."""
    layer = nn.Linear(2, 3)
    return dict(layer.named_parameters()), layer.weight.detach().clone()


def test_what_is_not_kept_is_zero_and_the_rest_untouched() -> None:
    parameters, before = linear()
    Originals().zero_outside(parameters, {"weight": flags(1, 0, 1)[:, None]})
    assert torch.equal(parameters["weight"][[0, 2]], before[[0, 2]])
    assert not parameters["weight"][1].any()
    assert parameters["weight"].requires_grad


def test_zeroing_twice_takes_both_and_gives_the_first_values_back() -> None:
    parameters, before = linear()
    originals = Originals()
    originals.zero_outside(parameters, {"weight": flags(1, 0, 1)[:, None]})
    originals.zero_outside(parameters, {"weight": flags(0, 1)})
    assert parameters["weight"].nonzero().tolist() == [[0, 1], [2, 1]]
    originals.recover(parameters)
    assert torch.equal(parameters["weight"], before)


def test_originals_are_given_back_once() -> None:
    parameters, _ = linear()
    originals = Originals()
    originals.zero_outside(parameters, {"weight": flags(0, 0)})
    originals.recover(parameters)
    parameters["weight"].detach().fill_(7)
    originals.recover(parameters)
    assert (parameters["weight"] == 7).all()


def test_a_parameter_that_moved_since_keeps_its_values() -> None:
    parameters, _ = linear()
    bias = parameters["bias"].detach().clone()
    originals = Originals()
    originals.zero_outside(parameters, {"weight": flags(1, 0), "bias": flags(0, 0, 0)})
    parameters["weight"].detach().add_(1)
    originals.recover(parameters)
    assert (parameters["weight"][:, 1] == 1).all()
    assert torch.equal(parameters["bias"], bias)


def test_values_trained_between_two_prunes_are_the_originals_of_the_second() -> None:
    parameters, _ = linear()
    originals = Originals()
    originals.zero_outside(parameters, {"weight": flags(1, 0)})
    parameters["weight"].detach().add_(1)
    trained = parameters["weight"].detach().clone()
    originals.zero_outside(parameters, {"weight": flags(0, 1)})
    assert torch.equal(parameters["weight"][:, 1], trained[:, 1])
    originals.recover(parameters)
    assert torch.equal(parameters["weight"], trained)


def test_a_network_that_diverged_is_given_back_too() -> None:
    parameters, _ = linear()
    parameters["weight"].detach()[0, 0] = torch.nan
    before = parameters["weight"].detach().clone()
    originals = Originals()
    originals.zero_outside(parameters, {"weight": flags(1, 0)})
    originals.recover(parameters)
    torch.testing.assert_close(parameters["weight"].detach(), before, equal_nan=True)


def test_what_does_not_fit_is_named_and_nothing_is_changed() -> None:
    parameters, before = linear()
    originals = Originals()
    with pytest.raises(ValueError, match="name must be one of weight, bias, got 'w'"):
        originals.zero_outside(parameters, {"weight": flags(0, 0), "w": flags(0, 0)})
    with pytest.raises(ValueError, match=r"mask of 'bias' must be bool, got torch\.float32"):
        originals.zero_outside(parameters, {"weight": flags(0, 0), "bias": torch.ones(3)})
    assert torch.equal(parameters["weight"], before)
    originals.zero_outside(parameters, {"weight": flags(0, 0)})
    with pytest.raises(ValueError, match="parameters must hold 'weight', got bias"):
        originals.recover({"bias": parameters["bias"]})
