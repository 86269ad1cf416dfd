import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slbi.optim.shrink import (
    STRUCTURES,
    Structure,
    group_axis,
    group_norms,
    group_scales,
    group_threshold,
    selected,
    shrink,
)
from tests.reference import prox

structures = st.sampled_from(STRUCTURES)
shapes = st.sampled_from([(1, 1), (4, 3), (3, 5, 2), (5, 1, 3, 3), (4, 3, 2, 2)])
seeds = st.integers(0, 2**31)
sizes = st.sampled_from([0.0, 1e-30, 1e-3, 0.3, 1.0, 30.0, 1e15])
thresholds = st.sampled_from([1e-3, 0.1, 1.0, 7.0])


def draw(shape: tuple[int, ...], seed: int, size: float) -> Tensor:
    """Random groups of quite different sizes, one of them zero."""
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randn(shape, generator=generator, dtype=torch.float64) * size
    tensor *= torch.rand(shape[0], generator=generator, dtype=torch.float64).view(
        -1, *(1,) * (len(shape) - 1)
    )
    tensor[0] = 0
    return tensor


@given(shapes, structures, seeds, sizes, thresholds)
@settings(deadline=None, max_examples=150)
def test_shrinking_agrees_with_the_slow_reference(
    shape: tuple[int, ...], structure: Structure, seed: int, size: float, threshold: float
) -> None:
    z = draw(shape, seed, size)
    ours = shrink(z, structure, threshold).numpy()
    np.testing.assert_allclose(ours, prox(z.numpy(), structure, threshold), rtol=1e-9, atol=1e-12)


@given(shapes, structures, seeds, sizes, thresholds)
@settings(deadline=None, max_examples=150)
def test_shrinking_moves_no_two_points_apart(
    shape: tuple[int, ...], structure: Structure, seed: int, size: float, threshold: float
) -> None:
    one, other = draw(shape, seed, size), draw(shape, seed + 1, size)
    before = torch.linalg.vector_norm(one - other)
    after = torch.linalg.vector_norm(
        shrink(one, structure, threshold) - shrink(other, structure, threshold)
    )
    assert after <= before * (1 + 1e-9)


@given(shapes, structures, seeds, sizes, thresholds)
@settings(deadline=None, max_examples=150)
def test_zero_groups_stay_zero_and_nothing_is_nan(
    shape: tuple[int, ...], structure: Structure, seed: int, size: float, threshold: float
) -> None:
    z = draw(shape, seed, size)
    for tensor in (z, z.float()):
        shrunk = shrink(tensor, structure, threshold)
        assert shrunk.isfinite().all()
        assert not shrunk[0].any()


@given(shapes, structures, seeds, sizes, thresholds)
@settings(deadline=None, max_examples=150)
def test_selected_is_where_the_image_is_not_zero(
    shape: tuple[int, ...], structure: Structure, seed: int, size: float, threshold: float
) -> None:
    z = draw(shape, seed, size)
    nonzero = shrink(z, structure, threshold) != 0
    if structure != "element":
        nonzero = nonzero.movedim(group_axis(structure), 0).flatten(1).any(dim=1)
    assert torch.equal(selected(z, structure, threshold), nonzero)


def test_a_group_loses_exactly_the_threshold_from_its_norm() -> None:
    z = torch.tensor([[3.0, 4.0], [0.3, 0.4]], dtype=torch.float64)
    shrunk = shrink(z, "filter", 2.0)
    torch.testing.assert_close(shrunk, torch.tensor([[1.8, 2.4], [0.0, 0.0]], dtype=torch.float64))


def test_a_column_is_every_entry_that_reads_one_input() -> None:
    z = torch.zeros(3, 2, 2, 2)
    z[:, 1] = 1.0
    torch.testing.assert_close(group_norms(z, "column").flatten(), torch.tensor([0.0, 12**0.5]))
    assert selected(z, "column", 3.0).tolist() == [False, True]


def test_a_depthwise_filter_is_a_group_of_its_kernel_entries() -> None:
    z = torch.zeros(6, 1, 3, 3)
    z[4] = 1.0
    assert group_norms(z, "filter").flatten().tolist() == [0, 0, 0, 0, 3, 0]


@pytest.mark.parametrize(("structure", "entries"), [("filter", 12), ("column", 20)])
def test_the_fan_scaling_multiplies_with_the_root_of_a_groups_entries(
    structure: Structure, entries: int
) -> None:
    z = torch.zeros(5, 3, 2, 2)
    assert group_threshold(z, structure, 0.1, "fan") == pytest.approx(0.1 * math.sqrt(entries))
    assert group_threshold(z, structure, 0.1, "none") == 0.1


def test_scales_come_in_the_rank_of_their_tensor() -> None:
    zs = [torch.ones(4, 3, 2, 2), torch.ones(5, 3)]
    shapes = [tuple(scale.shape) for scale in group_scales(zs, "filter", 1.0, "none")]
    assert shapes == [(4, 1, 1, 1), (5, 1)]
    shapes = [tuple(scale.shape) for scale in group_scales(zs, "column", 1.0, "none")]
    assert shapes == [(1, 3, 1, 1), (1, 3)]


def test_entries_make_no_groups() -> None:
    with pytest.raises(ValueError, match="structure must be one of filter, column, got 'element'"):
        group_norms(torch.ones(2, 2), "element")
