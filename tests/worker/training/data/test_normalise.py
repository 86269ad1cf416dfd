import pytest
import torch

from worker.training.data.normalise import measure


def test_normalised_images_have_mean_zero_and_deviation_one_a_channel() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 200, (500, 3, 5, 5), generator=generator).to(torch.uint8)
    images[:, 1] //= 3
    normal = measure(images, 255).apply(images)
    assert normal.dtype == torch.float32
    assert normal.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert normal.std(dim=(0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=1e-3)


def test_the_peak_is_what_counts_as_one() -> None:
    images = torch.tensor([0, 16, 0, 16], dtype=torch.uint8).view(1, 1, 2, 2)
    found = measure(images, 16)
    assert found.mean == (0.5,)
    assert found.deviation == (0.5,)
    assert found.apply(images).flatten().tolist() == [-1, 1, -1, 1]


def test_a_channel_of_one_value_becomes_zero_and_not_nan() -> None:
    images = torch.full((4, 1, 3, 3), 9, dtype=torch.uint8)
    assert measure(images, 255).apply(images).abs().max() < 1e-6
