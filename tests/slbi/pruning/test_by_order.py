import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from slbi.pruning.by_order import kept_by_order, masks_by_order, prune_threshold

SCORES = st.lists(st.floats(-2000, 2000), min_size=1, max_size=40)


@given(SCORES, st.floats(0, 100))
def test_the_threshold_is_numpys_percentile_to_the_last_bit(
    scores: list[float], percent: float
) -> None:
    ours = prune_threshold(torch.tensor(scores, dtype=torch.float64), percent)
    assert ours == np.percentile(np.array(scores), percent)


def test_more_scores_than_torchs_quantile_takes_are_no_limit() -> None:
    scores = torch.arange(2**24 + 1, dtype=torch.float32)
    assert prune_threshold(scores, 50) == 2**23


def test_a_filter_at_the_threshold_stays_and_an_entry_at_it_goes() -> None:
    filters = torch.tensor([1.0, 2.0, 3.0])
    assert kept_by_order(filters, 50).tolist() == [False, True, True]
    assert kept_by_order(filters[None], 50).tolist() == [[False, False, True]]
    assert kept_by_order(filters, 0).all()
    assert kept_by_order(filters[None], 0).sum() == 2
    assert kept_by_order(filters, 100).sum() == 1
    assert not kept_by_order(filters[None], 100).any()


def test_a_share_is_kept_of_every_weight_by_its_own_scores() -> None:
    net = nn.ModuleDict({"conv": nn.Conv2d(1, 4, 1), "fc": nn.Linear(4, 2)})
    scores = {"conv.weight": torch.arange(4.0), "fc.weight": 100 - torch.arange(8.0).view(2, 4)}
    masks = masks_by_order(dict(net.named_parameters()), scores, 50, bias=True)
    assert list(masks) == ["conv.weight", "conv.bias", "fc.weight"]
    assert masks["conv.weight"].shape == (4, 1, 1, 1)
    assert masks["conv.bias"].tolist() == masks["conv.weight"].flatten().tolist()
    assert masks["conv.bias"].tolist() == [False, False, True, True]
    assert masks["fc.weight"].tolist() == [[True] * 4, [False] * 4]


def test_without_bias_or_where_a_layer_has_none_no_bias_goes() -> None:
    scores = {"weight": torch.arange(3.0)}
    with_bias, without = nn.Conv2d(1, 3, 1), nn.Conv2d(1, 3, 1, bias=False)
    assert list(masks_by_order(dict(with_bias.named_parameters()), scores, 50)) == ["weight"]
    assert list(masks_by_order(dict(with_bias.named_parameters()), scores, 50, bias=True)) == [
        "weight",
        "bias",
    ]
    assert list(masks_by_order(dict(without.named_parameters()), scores, 50, bias=True)) == [
        "weight"
    ]


def test_what_does_not_fit_is_named() -> None:
    parameters = dict(nn.Linear(2, 3).named_parameters())
    with pytest.raises(ValueError, match=r"percent must be in \[0, 100\], got 101"):
        masks_by_order(parameters, {"weight": torch.zeros(3)}, 101)
    with pytest.raises(ValueError, match="name must be one of weight, bias, got 'eight'"):
        masks_by_order(parameters, {"eight": torch.zeros(3)}, 50)
    with pytest.raises(ValueError, match=r"shape \(3,\) or \(3, 2\), got \(2,\)"):
        masks_by_order(parameters, {"weight": torch.zeros(2)}, 50)
    with pytest.raises(ValueError, match="at least one, got none"):
        prune_threshold(torch.zeros(0), 50)
