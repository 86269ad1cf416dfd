"""From a name to the three parts of a data set: what teaches, what decides, what is read once."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 -- torch's own name for it

from worker.training.config import DataConfig
from worker.training.data.augment import NONE, Augmentation
from worker.training.data.disk import DiskPart
from worker.training.data.folder import (
    Listing,
    check_images,
    check_memory,
    fits,
    listing,
    read_images,
)
from worker.training.data.formats import Part, read
from worker.training.data.locate import DatasetError, find_files, find_folder, find_layout
from worker.training.data.normalise import Normalisation, measure
from worker.training.data.parts import Images
from worker.training.data.sources import SOURCES, DataSource
from worker.training.data.split import stratified

_FOLDER_TEST_SEED = 0  # like that of the bundled digits: the same test images in every run
_FOLDER_TEST_SHARE = 0.2
_PARTS = ("learn from", "decide by", "test")  # each needs an image of every class
_FOLDER_SHIFT = 8  # a folder's images may move by an eighth of their side, as CIFAR's do
_CHUNK = 1024  # images resized at once: bounds the float copy


class TestSplit:
    """The test images, unread until asked for."""

    __test__ = False  # pytest takes a class of this name for a test

    def __init__(self, source: Callable[[], Images]) -> None:
        self._source = source
        self.reads = 0

    def read(self) -> Images:
        """Return the test images, on the CPU, and count the reading."""
        self.reads += 1
        return self._source()


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """A data set as a run uses it."""

    name: str
    train: Images
    """Images to learn from, on the device asked for."""
    validation: Images
    """Images to decide by, on the same device."""
    test: TestSplit
    normalisation: Normalisation
    """Of the images to learn from."""
    augmentation: Augmentation

    @property
    def channels(self) -> int:
        """Return the channels of every image."""
        return self.train.channels

    @property
    def size(self) -> int:
        """Return the side of every image, px."""
        return self.train.size


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """A data set before its training part is split."""

    whole: Images
    test: TestSplit
    augmentation: Augmentation
    peak: int = 255
    normalisation: Normalisation | None = None
    """None: to be measured."""


def load(
    config: DataConfig,
    directories: Sequence[Path],
    *,
    split: torch.Generator,
    device: torch.device,
) -> Data:
    """Return a data set, its training part split, in memory on `device` or on disk.

    Args:
        config: which, and how.
        directories: where to look, in order.
        split: draws the images held out for validation.
        device: where the images to learn from and to decide by are kept, or their batches go.

    Raises:
        DatasetAbsentError: it lies in none of the directories.
        DatasetError: it cannot be used as it lies there.
    """
    source = SOURCES.get(config.dataset)
    if source is None:
        found = _folder(config, directories)
    elif source.folders:
        found = _large(source, config, directories)
    else:
        found = _known(source, config, directories)
    kept, held = stratified(found.whole.labels, config.validation, split)
    train = found.whole.rows(kept)
    return Data(
        name=config.dataset,
        train=train.to(device),
        validation=found.whole.rows(held).to(device),
        test=found.test,
        normalisation=found.normalisation or measure(train.sample(), found.peak),
        augmentation=found.augmentation if config.augment else NONE,
    )


def _known(source: DataSource, config: DataConfig, directories: Sequence[Path]) -> _Found:
    """Return a data set of a few files, which memory holds."""
    if config.memory == "disk":
        raise DatasetError(f"memory must be 'auto' or 'ram' for {source.name!r}, got 'disk'")
    size = config.image_size
    files = find_files(source, directories)
    check_memory(source.train, source.channels, size or source.size)
    return _Found(
        whole=_resized(read(source.name, files, "train"), size),
        test=TestSplit(lambda: _resized(read(source.name, files, "test"), size)),
        augmentation=Augmentation(flip=source.flip, shift=source.shift),
        peak=source.peak,
    )


def _large(source: DataSource, config: DataConfig, directories: Sequence[Path]) -> _Found:
    """Return a data set of two folders of images, on disk unless they are wanted in memory."""
    (train, test), directory = find_layout(source, directories)
    listed = listing(train, directory)
    held = listing(test, directory, listed.classes)
    _check_counts(listed, _PARTS[:2], source.name)
    size = config.image_size or source.size
    found = (_in_memory if config.memory == "ram" else _on_disk)(listed, held, size, config)
    if source.mean is None or source.deviation is None:
        return found
    known = Normalisation(mean=source.mean, deviation=source.deviation, peak=source.peak)
    return replace(found, normalisation=known)


def _folder(config: DataConfig, directories: Sequence[Path]) -> _Found:
    """Return a folder of images, in memory if it fits."""
    name, size = config.dataset, config.image_size
    folder, directory = find_folder(name, directories)
    train = folder / "train"
    listed = listing(train if train.is_dir() else folder, directory)
    tested = train.is_dir() and (folder / "test").is_dir()
    _check_counts(listed, _PARTS[:2] if tested else _PARTS, name)
    if tested:
        held = listing(folder / "test", directory, listed.classes)
    else:
        labels = torch.tensor(listed.labels, dtype=torch.int64)
        generator = torch.Generator().manual_seed(_FOLDER_TEST_SEED)
        rows = stratified(labels, _FOLDER_TEST_SHARE, generator)
        listed, held = listed.rows(rows[0]), listed.rows(rows[1])
    if config.memory == "disk" and size is None:
        raise DatasetError(f"set image_size: the images of {name!r} are to stay on disk")
    if size is not None and (
        config.memory == "disk"
        or (config.memory == "auto" and not (fits(listed, size) and fits(held, size)))
    ):
        return _on_disk(listed, held, size, config)
    return _in_memory(listed, held, size, config)


def _in_memory(listed: Listing, held: Listing, size: int | None, _config: DataConfig) -> _Found:
    whole = read_images(listed, size)
    check_images(held, whole.size, whole.channels, scaled=size is not None)
    return _Found(
        whole=whole,
        test=TestSplit(lambda: read_images(held, size or whole.size, whole.channels)),
        augmentation=Augmentation(flip=True, shift=whole.size // _FOLDER_SHIFT),
    )


def _on_disk(listed: Listing, held: Listing, size: int, config: DataConfig) -> _Found:
    """Return images that nobody has looked at yet: there may be a million."""
    whole, test = (
        DiskPart(listed=images, size=size, workers=config.workers) for images in (listed, held)
    )
    return _Found(
        whole=whole,
        test=TestSplit(lambda: test),
        augmentation=Augmentation(flip=True, crop=True),
    )


def _check_counts(listed: Listing, parts: Sequence[str], name: str) -> None:
    """Refuse a class that has no image for each of the parts that it is split into."""
    counts = Counter(listed.labels)
    for label, cls in enumerate(listed.classes):
        if counts[label] < len(parts):
            raise DatasetError(
                f"every class of {name!r} must have {len(parts)} images or more, to "
                f"{', to '.join(parts)}, class {cls!r} has {counts[label]}"
            )


def _resized(part: Part, size: int | None) -> Part:
    """Return the images at another size, bilinear and without aliasing."""
    if size is None or size == part.images.shape[2]:
        return part
    chunks = [
        F.interpolate(chunk.to(torch.float32), (size, size), mode="bilinear", antialias=True)
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for chunk in torch.split(part.images, _CHUNK)
    ]
    return Part(images=torch.cat(chunks), labels=part.labels, classes=part.classes)
