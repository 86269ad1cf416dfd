import numpy as np
import pytest
import torch

from slbi.optim.shrink import group_norms
from slbi.structure.order import (
    NEVER,
    REFERENCE_NEVER,
    EntryOrder,
    prune_rank,
    prune_score,
)
from tests.replay import BASE_CASES, Case, numpy


def flags(bits: str) -> torch.Tensor:
    return torch.tensor([bit == "1" for bit in bits])


@pytest.mark.parametrize("name", BASE_CASES)
def test_entries_and_scores_are_the_golden_ones(name: str) -> None:
    case = Case(name)
    order = EntryOrder()
    for step, optimizer, parameters in case.replay():
        epoch, rest = divmod(step + 1, case.epoch_len)
        if rest != 0:
            continue
        supports = {twin: optimizer.support(parameters[twin]) for twin in case.twins}
        order.update(epoch - 1, supports)
        for twin in case.twins:
            weight, entry = parameters[twin].detach(), order.entry(twin)
            grouped = case.structure(twin) == "filter"
            norms = group_norms(weight, "filter").flatten() if grouped else weight.abs()
            record = np.where(entry == NEVER, REFERENCE_NEVER, entry)
            if grouped:
                record = np.broadcast_to(record[:, None, None, None], weight.shape)
            golden = case.arrays[f"epoch_record/{twin}"][epoch - 1]
            # The reference records entries: one that never left zero is not in a selected filter.
            assert np.array_equal(record, golden)
            score = case.arrays[f"prune_order/{twin}"][epoch - 1]
            np.testing.assert_allclose(numpy(prune_score(norms, entry)), score, rtol=1e-9)


def test_the_first_epoch_stays_when_the_support_is_left() -> None:
    order = EntryOrder()
    for epoch, bits in enumerate(("000", "010", "000", "011")):
        order.update(epoch, {"conv": flags(bits)})
    assert order.entry("conv").tolist() == [NEVER, 1, 3]


def test_new_filters_of_a_widened_weight_have_not_entered() -> None:
    order = EntryOrder()
    order.update(0, {"conv": flags("10"), "fc": torch.eye(2, dtype=torch.bool)})
    order.update(5, {"conv": flags("0101"), "fc": torch.ones(3, 2, dtype=torch.bool)})
    assert order.entry("conv").tolist() == [0, 5, NEVER, 5]
    assert order.entry("fc").tolist() == [[0, 5], [5, 0], [5, 5]]


def test_an_order_continues_from_its_saved_entries() -> None:
    order, resumed = EntryOrder(), EntryOrder()
    order.update(2, {"conv": flags("100")})
    resumed.load_state_dict(order.state_dict())
    resumed.update(3, {"conv": flags("110")})
    assert resumed.entry("conv").tolist() == [2, 3, NEVER]
    assert order.entry("conv").tolist() == [2, NEVER, NEVER]


def test_what_never_entered_is_pruned_first_however_long_the_run() -> None:
    entry = torch.tensor([0, 3, 4000, NEVER])
    score = prune_score(torch.tensor([0.1, 0.2, 0.3, 0.4]), entry)
    assert score.argsort(descending=True).tolist() == [0, 1, 2, 3]


def test_a_norm_lead_above_one_beats_an_epoch() -> None:
    score = prune_score(torch.tensor([0.5, 1.7]), torch.tensor([3, 4]))
    assert score[1] > score[0]


def test_what_does_not_fit_is_refused_and_nothing_is_written() -> None:
    order = EntryOrder()
    order.update(0, {"conv": flags("100")})
    with pytest.raises(ValueError, match=r"at least as large as before \(3,\), got \(2,\)"):
        order.update(1, {"new": flags("1"), "conv": flags("11")})
    with pytest.raises(ValueError, match="epoch must be >= 0, got -1"):
        order.update(-1, {"conv": flags("111")})
    with pytest.raises(ValueError, match=r"must be bool, got torch\.float32"):
        order.update(1, {"conv": torch.ones(3)})
    assert order.entry("conv").tolist() == [0, NEVER, NEVER]
    with pytest.raises(ValueError, match=r"one of those updated \(conv\), got 'new'"):
        order.entry("new")
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) and \(3,\)"):
        prune_score(torch.ones(2), order.entry("conv"))


def test_what_is_forgotten_counts_as_never_entered_until_it_enters_again() -> None:
    order = EntryOrder()
    order.update(0, {"conv": flags("111")})
    order.forget("conv", flags("010"))
    assert order.entry("conv").tolist() == [0, NEVER, 0]
    order.update(6, {"conv": flags("111")})
    assert order.entry("conv").tolist() == [0, 6, 0]
    with pytest.raises(ValueError, match=r"which must be bool of shape \(3,\), got .* \(2,\)"):
        order.forget("conv", flags("01"))


def test_in_the_lexicographic_order_the_norm_decides_within_an_epoch_only() -> None:
    entry = torch.tensor([[0, 0, 7], [NEVER, NEVER, 7]])
    norms = torch.tensor([[0.1, 0.2, 50.0], [99.0, 98.0, 50.0]])
    assert prune_rank(norms, entry).tolist() == [[3, 4, 2], [1, 0, 2]]


def test_the_two_orders_differ_where_a_norm_lead_passes_an_epoch() -> None:
    norms, entry = torch.tensor([0.5, 1.7]), torch.tensor([3, 4])
    assert prune_score(norms, entry).argmax() == 1
    assert prune_rank(norms, entry).argmax() == 0
