from typing import Any

import pytest
import torch
from torch import nn

from slbi import SLBI


@pytest.mark.parametrize(
    ("option", "value", "holds"),
    [
        ("lr", -0.1, "a finite number >= 0"),
        ("lr", float("nan"), "a finite number >= 0"),
        ("lr", "0.1", "a finite number >= 0"),
        ("kappa", 0, "a finite number > 0"),
        ("mu", 0.0, "a finite number > 0"),
        ("mu", float("inf"), "a finite number > 0"),
        ("mu", "auto", "a finite number > 0"),
        ("momentum", 1.0, "in \\[0, 1\\)"),
        ("momentum", -0.1, "in \\[0, 1\\)"),
        ("weight_decay", -1e-4, "a finite number >= 0"),
        ("dampening", 1.5, "in \\[0, 1\\]"),
        ("threshold", 0.0, "a finite number > 0"),
        ("kappa", True, "a finite number > 0"),
        ("nesterov", "yes", "True or False"),
        ("structure", "rows", "one of 'filter', 'column', 'element', None"),
        ("scaling", "root", "one of 'none', 'fan'"),
    ],
)
def test_a_value_outside_its_range_is_refused_with_the_range(
    option: str, value: object, holds: str
) -> None:
    group: dict[str, Any] = {"params": [nn.Parameter(torch.ones(2, 2))], option: value}
    with pytest.raises(ValueError, match=f"{option} must be {holds}, got {value!r}"):
        SLBI([group], lr=0.1)


@pytest.mark.parametrize("numbers", [{"momentum": 0.0}, {"dampening": 0.1}])
def test_nesterov_without_plain_momentum_is_refused(numbers: dict[str, float]) -> None:
    group = {"params": [nn.Parameter(torch.ones(2, 2))], **numbers}
    with pytest.raises(ValueError, match="nesterov needs momentum > 0 and dampening 0"):
        SLBI([group], lr=0.1, nesterov=True)


@pytest.mark.parametrize("structure", ["filter", "column"])
def test_the_normalised_variant_knows_entries_only(structure: str) -> None:
    group = {"params": [nn.Parameter(torch.ones(2, 2))], "structure": structure}
    with pytest.raises(ValueError, match=f"normalised needs structure 'element'.*'{structure}'"):
        SLBI([group], lr=0.1, normalised=True)


@pytest.mark.parametrize("structure", ["filter", "column", "element"])
def test_a_vector_has_no_twin(structure: str) -> None:
    layer = nn.Linear(3, 2)
    group = {"params": layer.named_parameters(), "structure": structure}
    with pytest.raises(ValueError, match=r"rank >= 2, got parameter 'bias' .* shape \(2,\)"):
        SLBI([group], lr=0.1)


@pytest.mark.parametrize("structure", ["filter", "column", "element"])
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2), (4, 3, 2, 2), (4, 3, 2, 2, 2)])
def test_every_weight_of_rank_two_or_more_can_have_a_twin(
    structure: str, shape: tuple[int, ...]
) -> None:
    weight = nn.Parameter(torch.ones(shape))
    optimizer = SLBI([{"params": [weight], "structure": structure}], lr=1.0, mu=0.1)
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert optimizer.support(weight).all()


def test_a_refused_group_is_not_added() -> None:
    optimizer = SLBI([nn.Parameter(torch.ones(2))], lr=0.1)
    with pytest.raises(ValueError, match="kappa must be"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2, 2))], "kappa": -1})
    assert len(optimizer.param_groups) == 1


def test_an_empty_list_of_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="empty parameter list"):
        SLBI([], lr=0.1)


def test_a_state_of_another_shape_is_refused_and_nothing_changes() -> None:
    narrow, wide = (nn.Parameter(torch.ones(width, 3)) for width in (2, 5))
    saved = SLBI([narrow], lr=0.5, structure="filter")
    narrow.grad = torch.ones_like(narrow)
    saved.step()
    optimizer = SLBI([wide], lr=0.1, structure="filter")
    with pytest.raises(ValueError, match=r"shape \(5, 3\), got \(2, 3\)"):
        optimizer.load_state_dict(saved.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_the_state_of_another_optimizer_is_refused() -> None:
    weight = nn.Parameter(torch.ones(2, 3))
    optimizer = SLBI([weight], lr=0.1)
    with pytest.raises(ValueError, match="a parameter group must hold kappa, mu, threshold"):
        optimizer.load_state_dict(torch.optim.SGD([weight], lr=0.1).state_dict())
