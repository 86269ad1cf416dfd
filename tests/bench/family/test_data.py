import itertools

import pytest
import torch

from bench.family.data import images, stream


def test_fewer_images_are_split_as_all_are_and_always_the_same() -> None:
    first, second = images("digits", 400), images("digits", 400)
    assert len(first.train) == 360
    assert len(first.validation) == 143
    assert torch.equal(first.train.labels, second.train.labels)
    assert first.normalisation == second.normalisation


def test_batches_are_those_of_the_seed() -> None:
    data = images("digits", 400)
    first, again, other = (
        [labels for _, labels in itertools.islice(stream(data, 32, seed), 20)] for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_more_images_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="images must be 2 to 1438"):
        images("digits", 2000)
