import pytest
import torch

from bench.family.networks import NAMES, Standard
from bench.family.task import BUDGETS
from slbi.nets.count import count
from slbi.nets.widths import Widths


@pytest.mark.parametrize("name", NAMES)
def test_the_cost_is_what_torch_counts(name: str) -> None:
    standard = Standard(name, 1, 28, 10)
    for limit in standard.limits((0.02, 1.0)):
        widths = standard.uniform(limit)
        net = standard.fresh(widths, torch.Generator().manual_seed(0))
        assert standard.cost(widths) == count(net, standard.shape)


def test_the_small_vgg_is_that_of_the_first_measurements() -> None:
    assert round(Standard("small-vgg", 1, 28, 10).macs / 1e6, 2) == 7.34


@pytest.mark.parametrize("name", NAMES)
def test_uniform_networks_fill_their_budget_and_no_more(name: str) -> None:
    standard = Standard(name, 1, 28, 10)
    for limit in standard.limits(BUDGETS):
        widths = standard.uniform(limit)
        assert 0.9 * limit < standard.cost(widths)[1] <= limit
        shares = [widths[group] / standard.widths[group] for group in widths]
        assert max(shares) - min(shares) < 2 / 16 + 1e-9


def test_all_of_the_budget_is_the_standard_network() -> None:
    standard = Standard("small-vgg", 1, 28, 10)
    assert standard.uniform(standard.macs) == standard.widths


def test_a_raise_takes_no_filter_away() -> None:
    standard = Standard("small-vgg", 1, 28, 10)
    uneven = Widths(dict(zip(standard.widths, (8, 1, 1, 1, 1, 1), strict=True)))
    (limit,) = standard.limits((0.2,))
    raised = standard.raised(uneven, limit)
    assert all(raised[group] >= uneven[group] for group in uneven)
    assert standard.cost(raised)[1] <= limit


def test_a_limit_below_one_filter_a_group_is_refused() -> None:
    with pytest.raises(ValueError, match="must allow the narrowest network"):
        Standard("small-vgg", 1, 28, 10).uniform(10)


def test_the_same_seed_gives_the_same_weights() -> None:
    standard = Standard("small-vgg", 1, 8, 10)
    first, second = (
        standard.fresh(standard.widths, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'alexnet'"):
        Standard("alexnet", 1, 28, 10)
