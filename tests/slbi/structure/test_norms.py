import pytest
import torch

from slbi.structure.norms import norms, residue, row_norms


def test_norms_are_by_what_enters_as_one() -> None:
    w = torch.tensor([[3.0, -4.0], [0.0, 1.0]], requires_grad=True)
    assert norms(w, "filter").tolist() == [5.0, 1.0]
    assert norms(w, "column").tolist() == pytest.approx([3.0, 17**0.5])
    assert norms(w, "element").tolist() == [[3.0, 4.0], [0.0, 1.0]]
    assert not norms(w, "filter").requires_grad


def test_rows_of_any_rank_have_a_norm() -> None:
    assert row_norms(torch.tensor([-2.0, 3.0])).tolist() == [2.0, 3.0]
    assert row_norms(torch.ones(2, 4, 2, 2)).tolist() == [4.0, 4.0]


def test_the_residue_is_the_squared_distance_over_twice_mu() -> None:
    w = torch.tensor([[1.0, 2.0]], requires_grad=True)
    assert residue(w, torch.tensor([[0.0, 4.0]]), 10.0) == pytest.approx(0.25)
    with pytest.raises(ValueError, match=r"one shape, got \(1, 2\) and \(1, 1\)"):
        residue(w, torch.zeros(1, 1), 1.0)
