from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slbi import SLBI
from slbi.growth.reinitialise import reinitialise, worst


class Conv(nn.Conv2d):
    """A convolution whose bias is known to be there."""

    @property
    def shift(self) -> Tensor:
        assert self.bias is not None
        return self.bias


def driven() -> tuple[Conv, SLBI]:
    """A convolution that took two steps."""
    torch.manual_seed(0)
    conv = Conv(2, 6, 2, dtype=torch.float64)
    groups: list[dict[str, Any]] = [
        {"params": [conv.weight], "structure": "filter"},
        {"params": [conv.shift]},
    ]
    optimizer = SLBI(groups, lr=0.1)
    for _ in range(2):
        torch.autograd.backward(conv(torch.randn(3, 2, 4, 4, dtype=torch.float64)).square().sum())
        optimizer.step()
    return conv, optimizer


ROWS = torch.tensor([False, True, False, True, True, False])


def test_the_worst_are_the_share_of_the_lowest_scores() -> None:
    scores = torch.tensor([4.0, 1.0, 3.0, 2.0, 0.0])
    assert worst(scores, 40).tolist() == [False, True, False, False, True]
    assert worst(scores, 50).sum() == 3
    assert worst(torch.arange(10.0), 90).sum() == 9
    assert not worst(scores, 0).any()


def test_fresh_filters_are_orthogonal_to_the_others_and_of_their_norm() -> None:
    conv, optimizer = driven()
    before = conv.weight.detach().clone().flatten(1)
    generator = torch.Generator().manual_seed(1)
    reinitialise(optimizer, conv.weight, ROWS, bias=conv.shift, generator=generator)
    after = conv.weight.detach().flatten(1)
    assert torch.equal(after[~ROWS], before[~ROWS])
    assert (after[ROWS] @ after[~ROWS].T).abs().max() < 1e-12
    assert (after[ROWS] @ before[ROWS].T).abs().max() > 1e-3
    norms = after.norm(dim=1)
    torch.testing.assert_close(norms[ROWS], norms[~ROWS].mean().expand(3))


def test_bias_and_state_of_fresh_filters_are_zero_and_of_the_others_stay() -> None:
    conv, optimizer = driven()
    velocity = optimizer.state[conv.shift]["momentum_buffer"].clone()
    bias = conv.shift.detach().clone()
    reinitialise(optimizer, conv.weight, ROWS, bias=conv.shift)
    state = optimizer.state[conv.weight]
    for tensor in (state["z"], state["momentum_buffer"]):
        assert not tensor[ROWS].any()
        assert tensor[~ROWS].flatten(1).any(dim=1).all()
    assert torch.equal(conv.shift.detach(), bias.masked_fill(ROWS, 0))
    assert torch.equal(
        optimizer.state[conv.shift]["momentum_buffer"], velocity.masked_fill(ROWS, 0)
    )


def test_one_filter_must_stay() -> None:
    conv, optimizer = driven()
    with pytest.raises(ValueError, match="leave one of 6 filters, got all"):
        reinitialise(optimizer, conv.weight, torch.ones(6, dtype=torch.bool))
    with pytest.raises(ValueError, match="leave one of 2 filters, got 60"):
        worst(torch.zeros(2), 60)
    with pytest.raises(ValueError, match=r"percent must be in \[0, 100\), got 100"):
        worst(torch.zeros(2), 100)


def test_what_does_not_fit_is_refused() -> None:
    conv, optimizer = driven()
    with pytest.raises(ValueError, match=r"bool of shape \(6,\), got torch\.bool of shape \(5,\)"):
        reinitialise(optimizer, conv.weight, ROWS[:5])
    with pytest.raises(ValueError, match=r"must be 1-D, got shape \(2, 2\)"):
        worst(torch.zeros(2, 2), 50)
