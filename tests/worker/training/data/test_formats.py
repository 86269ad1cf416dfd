import gzip
import hashlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.io import savemat  # type: ignore[import-untyped] # scipy has no types
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10, SVHN

from worker.training.data.formats import read, read_cifar, read_digits, read_idx, read_svhn
from worker.training.data.locate import DatasetError
from worker.training.data.sources import SOURCES


def test_digits_hold_what_the_table_of_sources_says() -> None:
    source = SOURCES["digits"]
    train, test = read_digits("train"), read_digits("test")
    assert (len(train), len(test)) == (source.train, source.test)
    assert train.images.shape[1:] == (source.channels, source.size, source.size)
    assert int(train.images.max()) == source.peak
    assert len(train.classes) == source.classes


def test_the_digits_are_those_that_scikit_learn_reads() -> None:
    bunch = load_digits()
    expected = sorted(zip(bunch.data.tolist(), bunch.target.tolist(), strict=True))
    parts = [read_digits(which) for which in ("train", "test")]
    images = [image for part in parts for image in part.images.flatten(1).tolist()]
    labels = [label for part in parts for label in part.labels.tolist()]
    assert sorted(zip(images, labels, strict=True)) == expected


def test_a_run_on_digits_loads_neither_scikit_learn_nor_torchvision() -> None:
    program = (
        "import sys\n"
        "from worker.training.recipes.grow import grow\n"
        "from worker.training.data.formats import read\n"
        "read('digits', (), 'train')\n"
        "print(*sys.modules.keys() & {'sklearn', 'scipy', 'torchvision'})\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert ended.stdout.split() == []


def test_the_test_part_of_the_digits_is_always_the_same_and_apart_from_training() -> None:
    first, second, train = read_digits("test"), read_digits("test"), read_digits("train")
    assert torch.equal(first.images, second.images)
    counts = torch.bincount(first.labels).double() / torch.bincount(train.labels)
    assert counts.min() > 0.2
    assert counts.max() < 0.3


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_both_parts_of_an_idx_data_set_are_read(
    write_idx: Callable[..., np.ndarray], tmp_path: Path, name: str
) -> None:
    written = write_idx(name, compressed=False)
    files = [tmp_path / file for file in SOURCES[name].layouts[1]]
    train, test = read(name, files, "train"), read(name, files, "test")
    assert train.images.shape == (40, 1, 28, 28)
    assert test.images.shape == (20, 1, 28, 28)
    assert np.array_equal(train.images[:, 0].numpy(), written)
    assert train.labels.tolist() == [index % 10 for index in range(40)]
    assert len(train.classes) == 10


def test_compressed_and_plain_idx_files_read_alike(tmp_path: Path) -> None:
    data = bytes((0, 0, 8, 1, 0, 0, 0, 3, 5, 6, 7))
    plain, packed = tmp_path / "a", tmp_path / "a.gz"
    plain.write_bytes(data)
    packed.write_bytes(gzip.compress(data))
    assert read_idx(plain).tolist() == read_idx(packed).tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a", b"", "idx file of bytes"),
        ("a", bytes((0, 0, 13, 1, 0, 0, 0, 1, 5)), "idx file of bytes"),
        ("a", bytes((0, 0, 8, 1, 0, 0, 0, 3, 5)), r"must hold \(3,\) bytes"),
        ("a.gz", b"no gzip", "whole gzip file"),
        ("a.gz", gzip.compress(b"12345678", mtime=0)[:-9], "whole gzip file"),
    ],
)
def test_a_broken_idx_file_is_refused_by_name(
    tmp_path: Path, name: str, data: bytes, told: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=told) as refusal:
        read_idx(path)
    assert str(path) in str(refusal.value)


def test_labels_beyond_the_classes_are_refused(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(bytes((0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9)))
    labels.write_bytes(bytes((0, 0, 8, 1, 0, 0, 0, 1, 10)))
    with pytest.raises(DatasetError, match="labels below 10, got 10"):
        read("mnist", [images, labels, images, labels], "train")


def _small_cifar(root: Path) -> tuple[type[CIFAR10], np.ndarray]:
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (6, 3072)).astype(np.uint8)
    contents = {
        "data_batch_1": {"data": images[:4], "labels": [0, 1, 1, 0]},
        "test_batch": {"data": images[4:], "labels": [1, 0]},
        "batches.meta": {"label_names": ["cat", "dog"]},
    }
    sums = {}
    for name, content in contents.items():
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        sums[name] = hashlib.md5(data).hexdigest()  # noqa: S324 -- torchvision's own check

    class Small(CIFAR10):  # type: ignore[misc] # torchvision has no types
        train_list: ClassVar[list[list[str]]] = [["data_batch_1", sums["data_batch_1"]]]
        test_list: ClassVar[list[list[str]]] = [["test_batch", sums["test_batch"]]]
        meta: ClassVar[dict[str, str]] = {
            "filename": "batches.meta",
            "key": "label_names",
            "md5": sums["batches.meta"],
        }

    return Small, images


def test_cifar_is_read_channel_by_channel(tmp_path: Path) -> None:
    archive, images = _small_cifar(tmp_path)
    train, test = (read_cifar(tmp_path, "train", archive), read_cifar(tmp_path, "test", archive))
    assert np.array_equal(train.images.numpy().reshape(4, -1), images[:4])
    assert train.labels.tolist() == [0, 1, 1, 0]
    assert test.images.shape == (2, 3, 32, 32)
    assert test.classes == ("cat", "dog")


def test_a_changed_cifar_file_is_refused_and_its_code_never_run(tmp_path: Path) -> None:
    archive, _ = _small_cifar(tmp_path)
    evil = b"cbuiltins\nexec\n(S'raise SystemExit(7)'\ntR."
    (tmp_path / CIFAR10.base_folder / "data_batch_1").write_bytes(evil)
    with pytest.raises(DatasetError, match="published MD5 sums"):
        read_cifar(tmp_path, "train", archive)


def test_svhn_is_read_with_ten_as_zero(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 3)).astype(np.uint8)
    savemat(tmp_path / "train_32x32.mat", {"X": pixels, "y": np.array([[1], [10], [9]])})
    data = (tmp_path / "train_32x32.mat").read_bytes()
    sums = hashlib.md5(data).hexdigest()  # noqa: S324 -- torchvision's own check

    class Small(SVHN):  # type: ignore[misc] # torchvision has no types
        split_list: ClassVar[dict[str, list[str]]] = {"train": ["", "train_32x32.mat", sums]}

    part = read_svhn(tmp_path, "train", Small)
    assert part.labels.tolist() == [1, 0, 9]
    assert np.array_equal(part.images.numpy(), pixels.transpose(3, 2, 0, 1))
    with pytest.raises(DatasetError, match="published MD5 sums"):
        read_svhn(tmp_path, "train", SVHN)
