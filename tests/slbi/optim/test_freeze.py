from collections.abc import Callable

import pytest
import torch
from torch import nn

from slbi import SLBI
from slbi.optim.freeze import frozen


def half_selected(structure: str) -> tuple[nn.Parameter, SLBI]:
    """A weight of whose four filters, or columns, half are in the support."""
    size = torch.tensor([3.0, 0.1, 3.0, 0.1])
    size = size[:, None] if structure == "filter" else size[None, :]
    weight = nn.Parameter(size * torch.ones(4, 4))
    optimizer = SLBI([{"params": [weight], "structure": structure}], lr=0.5, mu=2.0)
    for _ in range(3):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    weight.grad = torch.ones_like(weight)
    return weight, optimizer


@pytest.mark.parametrize("structure", ["filter", "column", "element"])
def test_what_is_selected_keeps_w_and_z_and_the_rest_steps_as_ever(structure: str) -> None:
    weight, optimizer = half_selected(structure)
    free, plain = half_selected(structure)
    before, z = weight.detach().clone(), optimizer.z(weight)
    held = optimizer.gamma(weight) != 0
    assert held.sum() == 8
    with frozen(optimizer, [weight]):
        optimizer.step()
    plain.step()
    assert torch.equal(weight[held], before[held])
    assert torch.equal(optimizer.z(weight)[held], z[held])
    assert torch.equal(weight[~held], free[~held])
    assert torch.equal(optimizer.z(weight)[~held], plain.z(free)[~held])
    assert not torch.equal(weight[~held], before[~held])


def test_before_the_first_step_nothing_is_held() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = SLBI([weight], lr=0.1, structure="filter")
    weight.grad = torch.ones_like(weight)
    with frozen(optimizer, [weight]):
        optimizer.step()
    assert not torch.equal(weight, torch.ones(2, 2))


def test_a_weight_without_a_twin_is_refused() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    hold: Callable[[], object] = frozen(SLBI([weight], lr=0.1), [weight]).__enter__
    with pytest.raises(ValueError, match="plain group"):
        hold()
