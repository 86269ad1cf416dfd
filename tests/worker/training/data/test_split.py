import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worker.training.data.split import stratified


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=6),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_a_split_takes_every_image_once_and_keeps_the_share_of_every_class(
    counts: list[int], share: float, seed: int
) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    kept, held = stratified(labels, share, _generator(seed))
    assert sorted(kept.tolist() + held.tolist()) == list(range(len(labels)))
    for label, count in enumerate(counts):
        n_held = int((labels[held] == label).sum())
        assert 1 <= n_held <= count - 1
        assert abs(n_held - share * count) <= 1


def test_the_seed_fixes_the_split() -> None:
    labels = torch.arange(10).repeat(20)
    first, again, other = (stratified(labels, 0.2, _generator(seed))[1] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"share must be in \(0, 1\)"):
        stratified(torch.tensor([0, 0, 1, 1]), share, _generator())


def test_a_class_of_one_image_is_refused() -> None:
    with pytest.raises(ValueError, match="class 1 has 1"):
        stratified(torch.tensor([0, 0, 1]), 0.5, _generator())
