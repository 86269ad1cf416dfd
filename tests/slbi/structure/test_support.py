import numpy as np
import pytest
import torch

from slbi.optim.shrink import Structure
from slbi.structure.support import fill, support, w_star
from tests.replay import BASE_CASES, Case, numpy


@pytest.fixture
def gamma() -> torch.Tensor:
    """Gamma of four filters that read three maps; filters 1 and 3, and map 2, carry something."""
    gamma = torch.zeros(4, 3, 2, 2)
    gamma[1, 2, 0, 0] = 0.5
    gamma[3, 2, 1, 1] = -0.5
    return gamma


def test_a_filter_is_in_the_support_if_any_of_its_entries_is(gamma: torch.Tensor) -> None:
    assert support(gamma, "filter").tolist() == [False, True, False, True]
    assert support(gamma, "column").tolist() == [False, False, True]
    assert torch.equal(support(gamma, "element"), gamma != 0)


@pytest.mark.parametrize(
    ("structure", "share"), [("filter", 2 / 4), ("column", 1 / 3), ("element", 2 / 48)]
)
def test_fill_is_the_share_of_what_enters_as_one(
    gamma: torch.Tensor, structure: Structure, share: float
) -> None:
    assert fill(gamma, structure) == pytest.approx(share)
    assert fill(torch.zeros_like(gamma), structure) == 0
    assert fill(torch.ones_like(gamma), structure) == 1


def test_negative_entries_count(gamma: torch.Tensor) -> None:
    assert fill(-gamma.abs()) == fill(gamma)


def test_a_selected_filter_keeps_the_weights_where_gamma_has_gaps(gamma: torch.Tensor) -> None:
    w = torch.randn(4, 3, 2, 2)
    kept = w_star(w, gamma)
    assert torch.equal(kept[[1, 3]], w[[1, 3]])
    assert not kept[[0, 2]].any()
    assert torch.equal(w_star(w, gamma, "column")[:, 2], w[:, 2])
    assert w_star(w, gamma, "column")[:, :2].any().item() is False
    assert torch.equal(w_star(w, gamma, "element"), w * (gamma != 0))


@pytest.mark.parametrize("name", BASE_CASES)
def test_support_and_weight_on_it_are_the_golden_ones(name: str) -> None:
    case = Case(name)
    *_, (_, optimizer, parameters) = case.replay()
    for twin in case.twins:
        structure = case.structure(twin)
        assert structure is not None
        gamma = optimizer.gamma(parameters[twin])
        ours = numpy(w_star(parameters[twin], gamma, structure))
        golden = case.arrays[f"w_star/{twin}"]
        np.testing.assert_allclose(ours, golden, rtol=1e-9, atol=1e-10)
        assert torch.equal(support(gamma, structure), optimizer.support(parameters[twin]))
        if structure == "filter":
            assert fill(gamma) == pytest.approx(float(case.arrays[f"proportion/{twin}"]))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"gamma must be of rank >= 2, got shape \(3,\)"):
        fill(torch.ones(3))
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(3, 2\)"):
        w_star(torch.ones(2, 3), torch.ones(3, 2))
