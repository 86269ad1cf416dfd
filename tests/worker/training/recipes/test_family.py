import pytest

from worker.training.recipes.family import measured


@pytest.mark.parametrize(
    ("images", "count"), [(2, 2), (127, 127), (128, 128), (129, 128), (300, 256), (54000, 8192)]
)
def test_norms_are_measured_on_whole_batches(images: int, count: int) -> None:
    assert measured(images) == count
