from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from worker.training.config import DataConfig
from worker.training.data.augment import NONE, Augmentation
from worker.training.data.disk import DiskPart
from worker.training.data.formats import Part
from worker.training.data.load import Data, load
from worker.training.data.locate import DatasetAbsentError, DatasetError
from worker.training.data.normalise import Normalisation, measure
from worker.training.data.parts import Images


def _pixels(part: Images) -> Tensor:
    assert isinstance(part, Part)
    return part.images


def _load(config: DataConfig, *directories: Path, seed: int = 0) -> Data:
    split = torch.Generator().manual_seed(seed)
    return load(config, directories, split=split, device=torch.device("cpu"))


def test_the_parts_of_the_digits_are_apart_and_of_the_shares_asked_for() -> None:
    data = _load(DataConfig(dataset="digits", validation=0.25))
    assert len(data.train) + len(data.validation) == 1438
    assert len(data.validation) == pytest.approx(1438 / 4, abs=10)
    assert data.normalisation == measure(_pixels(data.train), 16)


def test_the_test_split_is_read_when_asked_for_and_every_reading_is_counted() -> None:
    data = _load(DataConfig(dataset="digits"))
    assert data.test.reads == 0
    assert len(data.test.read()) == 359
    assert data.test.reads == 1


def test_the_seed_moves_the_validation_split_and_leaves_the_test_split() -> None:
    first, second = (_load(DataConfig(dataset="digits"), seed=seed) for seed in (0, 1))
    assert not torch.equal(_pixels(first.validation), _pixels(second.validation))
    assert torch.equal(_pixels(first.test.read()), _pixels(second.test.read()))


def test_an_idx_data_set_is_loaded_from_its_directory(
    write_idx: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    write_idx("fashion-mnist", compressed=True)
    data = _load(DataConfig(dataset="fashion-mnist", image_size=32), tmp_path)
    assert (data.channels, data.size) == (1, 32)
    assert _pixels(data.test.read()).shape == (20, 1, 32, 32)
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
    assert torch.equal(_pixels(first.test.read()), _pixels(second.test.read()))


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


def test_imagenet_stays_on_disk_and_its_val_is_what_is_tested_on(
    write_imagenet: Callable[..., None], tmp_path: Path
) -> None:
    write_imagenet()
    data = _load(DataConfig(dataset="imagenet", validation=0.25, workers=0), tmp_path)
    assert isinstance(data.train, DiskPart)
    assert data.train.classes == ("n01440764", "n01443537", "n01484850")
    assert (len(data.train), len(data.validation), len(data.test.read())) == (18, 6, 9)
    assert (data.channels, data.size) == (3, 224)
    assert data.augmentation == Augmentation(flip=True, crop=True)
    assert data.normalisation == Normalisation(
        mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225)
    )


def test_a_subset_of_imagenet_can_be_held_in_memory(
    write_imagenet: Callable[..., None], tmp_path: Path
) -> None:
    write_imagenet()
    data = _load(DataConfig(dataset="imagenet", image_size=16, memory="ram"), tmp_path)
    assert _pixels(data.train).shape[1:] == (3, 16, 16)
    assert data.normalisation.mean[0] == 0.485


def test_imagenet_that_is_not_there_says_what_is_expected_where(tmp_path: Path) -> None:
    with pytest.raises(DatasetAbsentError, match=r"imagenet/train, imagenet/val expected; ask for"):
        _load(DataConfig(dataset="imagenet"), tmp_path)


def test_a_folder_stays_on_disk_where_that_is_asked_for_and_is_in_memory_else(
    write_images: Callable[..., None], tmp_path: Path
) -> None:
    write_images("pets", count=10)
    ram = _load(DataConfig(dataset="pets", image_size=8), tmp_path)
    disk = _load(DataConfig(dataset="pets", image_size=8, memory="disk", workers=0), tmp_path)
    assert isinstance(ram.train, Part)
    assert isinstance(disk.train, DiskPart)
    assert torch.equal(ram.train.labels, disk.train.labels)
    assert (len(disk.validation), len(disk.test.read())) == (2, 4)
    assert disk.normalisation.mean == pytest.approx(ram.normalisation.mean, abs=0.01)


def test_a_folder_that_memory_cannot_hold_stays_on_disk(
    write_images: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images("pets", count=10)
    monkeypatch.setattr("worker.training.data.folder.MEMORY", 10 * 3 * 8 * 8)
    auto = _load(DataConfig(dataset="pets", image_size=8, workers=0), tmp_path)
    assert isinstance(auto.train, DiskPart)
    with pytest.raises(DatasetError, match="leave a folder's images on disk"):
        _load(DataConfig(dataset="pets", image_size=8, memory="ram"), tmp_path)


def test_what_cannot_stay_on_disk_is_refused(
    write_images: Callable[..., None], tmp_path: Path
) -> None:
    write_images("pets", count=10)
    with pytest.raises(DatasetError, match="set image_size"):
        _load(DataConfig(dataset="pets", memory="disk"), tmp_path)
    with pytest.raises(DatasetError, match="memory must be 'auto' or 'ram' for 'digits'"):
        _load(DataConfig(dataset="digits", memory="disk"))
