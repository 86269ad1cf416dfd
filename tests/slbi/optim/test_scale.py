import pytest
import torch
from torch import nn

from slbi import SLBI
from slbi.optim.scale import auto_mu


def test_the_references_schedule_selects_filters_of_norm_one_half() -> None:
    assert auto_mu(0.05, 391 * 10, 0.5115) == pytest.approx(100, rel=1e-3)


@pytest.mark.parametrize("threshold", [1.0, 0.2])
def test_a_filter_of_that_norm_enters_after_that_many_steps(threshold: float) -> None:
    weight = nn.Parameter(torch.zeros(1, 4, dtype=torch.float64))
    mu = auto_mu(0.1, 50, 2.0, threshold=threshold)
    optimizer = SLBI([weight], lr=0.1, mu=mu, momentum=0.0, structure="filter", threshold=threshold)
    entered = []
    for _ in range(55):
        # The norm is held where the caller said it would be: only Z moves.
        weight.data.fill_(1.0)
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        entered.append(bool(optimizer.support(weight)))
    assert not any(entered[:49])
    assert all(entered[50:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 10, 1.0), "lr must be a finite number > 0, got 0.0"),
        ((0.1, 0, 1.0), "steps must be >= 1, got 0"),
        ((0.1, 10, float("nan")), "norm must be a finite number > 0, got nan"),
    ],
)
def test_arguments_outside_their_range_are_refused(
    arguments: tuple[float, int, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        auto_mu(*arguments)
