from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from worker.training.config import DataConfig
from worker.training.data.augment import NONE
from worker.training.data.load import Data, load
from worker.training.data.locate import DatasetAbsentError, DatasetError
from worker.training.data.normalise import measure


def _load(config: DataConfig, *directories: Path, seed: int = 0) -> Data:
    split = torch.Generator().manual_seed(seed)
    return load(config, directories, split=split, device=torch.device("cpu"))


def test_the_parts_of_the_digits_are_apart_and_of_the_shares_asked_for() -> None:
    data = _load(DataConfig(dataset="digits", validation=0.25))
    assert len(data.train) + len(data.validation) == 1438
    assert len(data.validation) == pytest.approx(1438 / 4, abs=10)
    assert data.normalisation == measure(data.train.images, 16)


def test_the_test_split_is_read_when_asked_for_and_every_reading_is_counted() -> None:
    data = _load(DataConfig(dataset="digits"))
    assert data.test.reads == 0
    assert len(data.test.read()) == 359
    assert data.test.reads == 1


def test_the_seed_moves_the_validation_split_and_leaves_the_test_split() -> None:
    first, second = (_load(DataConfig(dataset="digits"), seed=seed) for seed in (0, 1))
    assert not torch.equal(first.validation.images, second.validation.images)
    assert torch.equal(first.test.read().images, second.test.read().images)


def test_an_idx_data_set_is_loaded_from_its_directory(
    write_idx: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    write_idx("fashion-mnist", compressed=True)
    data = _load(DataConfig(dataset="fashion-mnist", image_size=32), tmp_path)
    assert (data.channels, data.size) == (1, 32)
    assert data.test.read().images.shape == (20, 1, 32, 32)
    assert data.augmentation.flip


def test_augmentation_can_be_switched_off() -> None:
    assert _load(DataConfig(dataset="digits", augment=False)).augmentation == NONE


def test_a_folder_with_a_test_split_is_loaded(
    write_images: Callable[..., None], tmp_path: Path
) -> None:
    write_images("pets/train", count=6)
    write_images("pets/test", count=3)
    data = _load(DataConfig(dataset="pets", validation=0.5), tmp_path)
    assert (len(data.train), len(data.validation), len(data.test.read())) == (6, 6, 6)
    assert data.train.classes == ("cat", "dog")


def test_a_test_image_that_cannot_be_read_is_refused_before_a_run_begins(
    write_images: Callable[..., None], tmp_path: Path
) -> None:
    write_images("pets/train", count=6)
    write_images("pets/test", count=3)
    broken = max((tmp_path / "pets/test/dog").iterdir())
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(DatasetError, match=broken.name):
        _load(DataConfig(dataset="pets", validation=0.5), tmp_path)


@pytest.mark.parametrize("folder", ["pets", "pets/train"])
def test_a_folder_without_a_test_split_gives_a_fifth_to_it_always_the_same(
    write_images: Callable[..., None], tmp_path: Path, folder: str
) -> None:
    write_images(folder, count=10)
    first, second = (_load(DataConfig(dataset="pets"), tmp_path, seed=seed) for seed in (0, 1))
    assert (len(first.train), len(first.validation), len(first.test.read())) == (14, 2, 4)
    assert torch.equal(first.test.read().images, second.test.read().images)


@pytest.mark.parametrize(("test", "least"), [(True, 2), (False, 3)])
def test_a_class_needs_an_image_for_every_part(
    write_images: Callable[..., None], tmp_path: Path, test: bool, least: int
) -> None:
    if test:
        write_images("few/test", count=1)
        write_images("enough/test", count=1)
    write_images("few/train", count=least - 1)
    write_images("enough/train", count=least)
    with pytest.raises(DatasetError, match=f"{least} images .* class 'cat' has {least - 1}"):
        _load(DataConfig(dataset="few"), tmp_path)
    data = _load(DataConfig(dataset="enough"), tmp_path)
    assert [len(data.train), len(data.validation), len(data.test.read())] == [2, 2, 2]


def test_a_test_split_of_other_classes_is_refused(
    write_images: Callable[..., None], tmp_path: Path
) -> None:
    write_images("pets/train", count=6)
    write_images("pets/test", count=3)
    (tmp_path / "pets" / "test" / "cat").rename(tmp_path / "pets" / "test" / "cow")
    with pytest.raises(DatasetError, match="must hold the classes cat, dog"):
        _load(DataConfig(dataset="pets"), tmp_path)


def test_an_unknown_name_is_absent_and_the_known_ones_are_listed(tmp_path: Path) -> None:
    with pytest.raises(DatasetAbsentError, match="digits, fashion-mnist, mnist"):
        _load(DataConfig(dataset="imagenette"), tmp_path)


@pytest.mark.parametrize("name", ["../pets", "/etc"])
def test_a_path_is_no_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="name must be"):
        _load(DataConfig(dataset=name), tmp_path)
