import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from slbi.pruning.keep import settled
from slbi.pruning.rank import Order, by_budget, filter_norms, rank, rank_together
from slbi.pruning.slice import slice_filters
from slbi.structure.order import NEVER

Trained = Callable[..., Any]

# Below the smallest normal number half of a norm is no half.
norms = st.just(0.0) | st.floats(2.0**-100, 100, width=32)
filters = st.lists(st.tuples(norms, st.integers(NEVER, 20)), min_size=1, max_size=12)


def _split(pairs: list[tuple[float, int]]) -> tuple[Tensor, Tensor]:
    norms, entries = zip(*pairs, strict=True)
    return torch.tensor(norms), torch.tensor(entries)


@given(filters)
def test_lexicographic_is_the_order_of_pairs_of_epoch_and_norm(
    pairs: list[tuple[float, int]],
) -> None:
    norms, entries = _split(pairs)
    ranks = rank(norms, entries, "lexicographic").tolist()
    keys = [(-entry if entry != NEVER else -(10**9), float(norm)) for norm, entry in pairs]
    for one, key in zip(ranks, keys, strict=True):
        for other, against in zip(ranks, keys, strict=True):
            assert (one < other) == (key < against)


@given(filters)
def test_mixed_is_the_norm_less_the_epoch_and_norm_the_norm_alone(
    pairs: list[tuple[float, int]],
) -> None:
    norms, entries = _split(pairs)
    never = torch.where(entries == NEVER, 2000, entries)
    assert torch.equal(rank(norms, entries, "mixed"), norms - never)
    assert torch.equal(rank(norms, entries, "norm"), norms)
    assert torch.equal(rank(norms, None, "norm"), norms)


@pytest.mark.parametrize("order", ["mixed", "lexicographic"])
def test_an_order_by_entry_needs_entries(order: Order) -> None:
    with pytest.raises(ValueError, match=f"order '{order}' needs the entry order of a run"):
        rank(torch.ones(3), None, order)
    with pytest.raises(ValueError, match=f"'{order}' needs .* of every group, that of b is mis"):
        rank_together({"a": torch.ones(2), "b": torch.ones(2)}, {"a": torch.zeros(2)}, order)
    with pytest.raises(ValueError, match="one shape"):
        rank(torch.ones(3), torch.zeros(2, dtype=torch.int64), order)


@given(filters, filters)
def test_together_the_scale_of_a_group_does_not_count(
    first: list[tuple[float, int]], second: list[tuple[float, int]]
) -> None:
    (a, _), (b, _) = _split(first), _split(second)
    ranked = rank_together({"a": a, "b": b}, {}, "norm")
    again = rank_together({"a": a * 2, "b": b / 2}, {}, "norm")
    for name in ("a", "b"):
        torch.testing.assert_close(ranked[name], again[name])


def test_together_epochs_come_before_norms_of_any_group() -> None:
    norms = {"a": torch.tensor([9.0, 1.0]), "b": torch.tensor([0.1, 0.3, 0.2])}
    entries = {"a": torch.tensor([3, 0]), "b": torch.tensor([1, NEVER, 1])}
    ranked = rank_together(norms, entries, "lexicographic")
    assert {name: values.tolist() for name, values in ranked.items()} == {
        "a": [1, 4],
        "b": [2, 0, 3],
    }


def test_a_group_of_zeros_has_no_nan() -> None:
    ranked = rank_together({"a": torch.zeros(3), "b": torch.ones(2)}, {}, "norm")
    assert ranked["a"].tolist() == [0, 0, 0]


def test_the_norm_of_a_filter_counts_all_weights_that_make_it(trained: Trained) -> None:
    net, _, _ = trained("resnet20")
    weights = [net.get_parameter(n) for n in net.coupling().group("stage2").tensors("producer")]
    rows = torch.cat([weight.detach().flatten(1) for weight in weights], dim=1)
    torch.testing.assert_close(filter_norms(net)["stage2"], rows.norm(dim=1))
    lenet, _, _ = trained("lenet5")
    expected = lenet.get_parameter("conv1.weight").detach().flatten(1).norm(dim=1)  # no bias
    torch.testing.assert_close(filter_norms(lenet)["conv1"], expected)


NETS = ("lenet5", "vgg11", "resnet20")


def _ranked(name: str, draw: int = 0) -> tuple[Backbone, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(draw)
    groups = backbones.groups(name, 28)
    widths = Widths({group: 3 + index % 4 for index, group in enumerate(groups)})
    net = backbones.build(name, widths, in_channels=1, size=28, classes=3, generator=generator)
    return net, rank_together(filter_norms(net), {}, "norm")


def _cost(net: Backbone, keep: dict[str, Tensor]) -> tuple[int, int]:
    positions = settled(net, keep).positions
    return net.cost(Widths({group: int(stays.sum()) for group, stays in positions.items()}))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("cap", ["max_params", "max_macs"])
def test_a_budget_is_met_and_with_the_next_filter_put_back_it_is_not(
    name: str, share: float, cap: str
) -> None:
    net, ranks = _ranked(name)
    index = 0 if cap == "max_params" else 1
    least = _cost(net, {group: values == values.max() for group, values in ranks.items()})[index]
    budget = least + int(share * (net.cost()[index] - least))
    keep = by_budget(net, ranks, **{cap: budget})
    assert _cost(net, keep)[index] <= budget
    assert slice_filters(net, None, keep).net.cost() == _cost(net, keep)
    gone = [(float(ranks[g][i]), g, i) for g in keep for i in range(len(keep[g])) if not keep[g][i]]
    value, group, last = max(gone)
    keep[group][last] = True
    assert _cost(net, keep)[index] > budget
    kept = [float(v) for g in keep for v in ranks[g][keep[g] & (ranks[g] != ranks[g].max())]]
    assert all(other >= value for other in kept)


def test_both_caps_hold_together_and_a_wide_budget_takes_nothing() -> None:
    net, ranks = _ranked("vgg11")
    params, macs = net.cost()
    keep = by_budget(net, ranks, max_params=params // 2, max_macs=macs // 3)
    assert _cost(net, keep)[0] <= params // 2
    assert _cost(net, keep)[1] <= macs // 3
    whole = by_budget(net, ranks, max_params=params, max_macs=macs)
    assert all(bool(stays.all()) for stays in whole.values())


@pytest.mark.parametrize("name", NETS)
def test_a_budget_below_one_filter_a_group_is_refused_with_the_numbers(name: str) -> None:
    net, ranks = _ranked(name)
    params, macs = _cost(net, {group: values == values.max() for group, values in ranks.items()})
    told = re.escape(
        f"must be at least {macs} MACs and {params} parameters, which the smallest widths take, "
        f"got max_macs {macs - 1} and max_params None"
    )
    with pytest.raises(ValueError, match=told):
        by_budget(net, ranks, max_macs=macs - 1)
    keep = by_budget(net, ranks, max_macs=macs, max_params=params)
    assert [int(stays.sum()) for stays in keep.values()] == [1] * len(ranks)


def test_a_group_that_is_not_ranked_stays_whole() -> None:
    net, ranks = _ranked("vgg11")
    del ranks["conv3"]
    keep = by_budget(net, ranks, max_params=net.cost()[0] // 2)
    assert "conv3" not in keep
    assert slice_filters(net, None, keep).net.widths["conv3"] == net.widths["conv3"]
