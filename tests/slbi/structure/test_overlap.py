import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from slbi.structure.overlap import overlap


def _supports(bits: list[list[bool]]) -> dict[str, Tensor]:
    return {f"layer{index}": torch.tensor(layer) for index, layer in enumerate(bits)}


bits = st.lists(st.booleans(), min_size=6, max_size=6)
pairs = st.lists(st.tuples(bits, bits), min_size=1, max_size=4)


@given(pairs)
def test_it_is_the_mean_of_intersection_over_union(
    layers: list[tuple[list[bool], list[bool]]],
) -> None:
    expected = []
    for one, other in layers:
        ours = {i for i, bit in enumerate(one) if bit}
        theirs = {i for i, bit in enumerate(other) if bit}
        expected.append(len(ours & theirs) / len(ours | theirs) if ours | theirs else 0.0)
    first, second = (_supports([pair[side] for pair in layers]) for side in (0, 1))
    assert overlap(first, second) == pytest.approx(sum(expected) / len(expected))
    assert overlap(first, second) == overlap(second, first)
    assert 0 <= overlap(first, second) <= 1


@given(st.lists(bits.filter(any), min_size=1, max_size=4))
def test_a_support_of_which_no_layer_is_empty_is_its_own_like(layers: list[list[bool]]) -> None:
    assert overlap(_supports(layers), _supports(layers)) == 1


def test_the_order_of_the_layers_does_not_move_the_last_bit() -> None:
    shares = (1, 2, 3)  # tenths, whose sum depends on the order: 0.6 or 0.6000000000000001
    first = {f"layer{share}": torch.arange(10) < share for share in shares}
    second = {name: torch.ones(10, dtype=torch.bool) for name in first}
    turned = dict(reversed(first.items()))
    assert overlap(first, second) == overlap(turned, second)


def test_19_of_20_reach_a_threshold_of_0_95() -> None:
    support = {"conv1": torch.arange(20) < 19}
    assert overlap(support, {"conv1": torch.ones(20, dtype=torch.bool)}) >= 0.95


def test_two_empty_supports_have_nothing_in_common() -> None:
    empty = {"conv1": torch.zeros(3, dtype=torch.bool)}
    assert overlap(empty, empty) == 0


def test_every_layer_counts_alike_however_large() -> None:
    small, large = torch.tensor([True]), torch.arange(100) < 50
    first = {"small": small, "large": large}
    second = {"small": small, "large": ~large}
    assert overlap(first, second) == 0.5


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"conv2": torch.ones(3, dtype=torch.bool)}, "same layers, got conv1 and conv2"),
        ({"conv1": torch.ones(4, dtype=torch.bool)}, r"'conv1' must have one shape, got \(3,\)"),
        ({}, "same layers, got conv1 and none"),
    ],
)
def test_supports_of_other_layers_or_shapes_are_refused(
    second: dict[str, Tensor], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        overlap({"conv1": torch.ones(3, dtype=torch.bool)}, second)


def test_no_layer_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="got none and none"):
        overlap({}, {})
