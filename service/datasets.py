"""Which data sets lie in the data directories: found by looking at names, never at contents."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from service.catalogue import Catalogue, Dataset, Defaults

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
"""Files that count as images. Source: docs/data.md, "Folders of images"."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_FOLDER_HELP = (
    "put images by class into <directory>/{name}/train/<class>/ and, if there is a test split, "
    "<directory>/{name}/test/<class>/"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundDataset:
    """A data set that can be asked for, and what is known of it."""

    name: str
    title: str
    kind: str
    """`known` for one of the catalogue, `folder` for images in a folder a class."""
    present: bool
    channels: int | None
    """None where only the images themselves tell."""
    size: int | None
    """Side of its images, px; None where only the images themselves tell."""
    classes: int
    train: int
    """Training images; for a folder without a test split, all of them."""
    test: int | None
    """Test images; None where some of the training images are taken."""
    how_to_get: str
    licence: str | None
    augmentation: object
    defaults: Defaults


def list_datasets(catalogue: Catalogue, directories: Sequence[Path]) -> list[FoundDataset]:
    """Return the data sets of the catalogue, present or not, then every folder of images."""
    known = [_known(dataset, directories) for dataset in catalogue.datasets.values()]
    folders: dict[str, FoundDataset] = {}
    for directory in directories:
        for name in _folder_names(directory):
            if name not in catalogue.datasets and name not in folders:
                found = _folder(directory, name, catalogue.folder_defaults)
                if found is not None:
                    folders[name] = found
    return [*known, *(folders[name] for name in sorted(folders))]


def find_dataset(
    name: str, catalogue: Catalogue, directories: Sequence[Path]
) -> FoundDataset | None:
    """Return one data set, present or not; None if nothing is known by this name."""
    if name in catalogue.datasets:
        return _known(catalogue.datasets[name], directories)
    for directory in directories:
        found = _folder(directory, name, catalogue.folder_defaults)
        if found is not None:
            return found
    return None


def absence(name: str, how_to_get: str | None, directories: Sequence[Path]) -> str:
    """Return the sentence that says where a data set was looked for and how to get it."""
    looked = ", ".join(str(directory) for directory in directories)
    advice = how_to_get or _FOLDER_HELP.format(name=name)
    return (
        f"data set {name!r} must lie in a data directory (SLBI_DATA_DIRS), "
        f"looked in {looked}: {advice}"
    )


def _known(dataset: Dataset, directories: Sequence[Path]) -> FoundDataset:
    present = not dataset.layouts or any(
        all((directory / file).exists() for file in layout)  # ImageNet's are folders
        for directory in directories
        for layout in dataset.layouts
    )
    return FoundDataset(
        name=dataset.name,
        title=dataset.title,
        kind="known",
        present=present,
        channels=dataset.channels,
        size=dataset.size,
        classes=dataset.classes,
        train=dataset.train,
        test=dataset.test,
        how_to_get=dataset.how_to_get,
        licence=dataset.licence,
        augmentation=dataset.augmentation,
        defaults=dataset.defaults,
    )


def _folder(directory: Path, name: str, defaults: Defaults) -> FoundDataset | None:
    """Return what lies in `directory`/`name` if it holds images of two classes or more."""
    if not _NAME.fullmatch(name) or ".." in name:
        return None
    top = directory / name
    if not top.is_dir() or not top.resolve().is_relative_to(directory.resolve()):
        return None
    train = _count_classes(top / "train" if (top / "train").is_dir() else top)
    if len(train) < 2:
        return None
    test = _count_classes(top / "test") if (top / "train").is_dir() else []
    return FoundDataset(
        name=name,
        title="Images by class in a folder",
        kind="folder",
        present=True,
        channels=None,
        size=None,
        classes=len(train),
        train=sum(train),
        test=sum(test) or None,
        how_to_get=_FOLDER_HELP.format(name=name),
        licence=None,
        augmentation=None,
        defaults=defaults,
    )


def _folder_names(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except OSError:
        return []  # a directory that is not there or cannot be read holds no data set


def _count_classes(folder: Path) -> list[int]:
    """Return the number of images of every class that has any."""
    try:
        with os.scandir(folder) as entries:
            classes = [
                (entry.path, entry.stat().st_mtime_ns) for entry in entries if entry.is_dir()
            ]
    except OSError:
        return []
    return [count for path, changed in classes if (count := _count_images(path, changed))]


@lru_cache(maxsize=10_000)
def _count_images(folder: str, _changed_ns: int) -> int:
    """Count the images of a folder, once for every time it changes: there may be a million."""
    try:
        with os.scandir(folder) as entries:
            return sum(Path(entry.name).suffix.lower() in IMAGE_SUFFIXES for entry in entries)
    except OSError:
        return 0
