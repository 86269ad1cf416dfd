import pytest
import torch

from slbi.pruning.extract import best, best_part, best_with_readers, next_weight

SCORES = torch.tensor([1.0, 5.0, 3.0, 5.0])
WEIGHT = torch.arange(8.0).view(4, 2)


def test_the_best_come_first_and_of_equals_the_first() -> None:
    assert best(SCORES, 3).tolist() == [1, 3, 2]
    assert best(SCORES, 0).tolist() == []


def test_filters_are_taken_whole_and_as_a_copy() -> None:
    part = best_part(WEIGHT, SCORES, 2)
    assert torch.equal(part, WEIGHT[[1, 3]])
    part.zero_()
    assert WEIGHT[1].any()


def test_of_entries_the_columns_with_the_best_entry_are_taken() -> None:
    scores = torch.zeros(4, 2)
    scores[2, 1] = 1.0
    assert torch.equal(best_part(WEIGHT, scores, 1), WEIGHT[:, [1]])


def test_a_reader_behind_a_flatten_gives_a_block_of_columns_for_each_filter() -> None:
    reader = torch.arange(24.0).view(2, 12)
    filters, columns = best_with_readers(WEIGHT, reader, SCORES, 2)
    assert torch.equal(filters, WEIGHT[[1, 3]])
    assert columns[0].tolist() == [3, 4, 5, 9, 10, 11]


def test_a_reading_convolution_gives_its_input_slices() -> None:
    reader = torch.randn(3, 4, 2, 2)
    _, columns = best_with_readers(WEIGHT, reader, SCORES, 2)
    assert torch.equal(columns, reader[:, [1, 3]])


def test_the_small_network_of_both_parts_computes_what_the_masked_one_does() -> None:
    reader, x = torch.randn(3, 4), torch.randn(5, 2)
    filters, columns = best_with_readers(WEIGHT, reader, SCORES, 2)
    masked = WEIGHT * torch.tensor([0.0, 1.0, 0.0, 1.0])[:, None]
    torch.testing.assert_close((x @ filters.T).relu() @ columns.T, (x @ masked.T).relu() @ reader.T)


def test_the_next_weight_is_behind_biases_and_norms() -> None:
    shapes = {"a.weight": (2, 2), "a.bias": (2,), "norm.weight": (2,), "b.weight": (3, 2)}
    parameters = {name: torch.zeros(shape) for name, shape in shapes.items()}
    assert next_weight(parameters, "a.weight") == "b.weight"
    for name in ("b.weight", "c.weight"):
        with pytest.raises(ValueError, match=f"with a weight behind it, got '{name}'"):
            next_weight(parameters, name)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"count must be in \[0, 4\], got 5"):
        best(SCORES, 5)
    with pytest.raises(ValueError, match=r"must be 1-D, got shape \(2, 2\)"):
        best(torch.zeros(2, 2), 1)
    with pytest.raises(ValueError, match="multiple of 4 columns, got 6"):
        best_with_readers(WEIGHT, torch.zeros(2, 6), SCORES, 1)
