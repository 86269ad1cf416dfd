"""From a name to the three parts of a data set: what teaches, what decides, what is read once."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 -- torch's own name for it
from torch import Tensor

from worker.training.config import DataConfig
from worker.training.data.augment import NONE, Augmentation
from worker.training.data.folder import Listing, check_images, check_memory, listing, read_images
from worker.training.data.formats import Part, read
from worker.training.data.locate import DatasetError, find_files, find_folder
from worker.training.data.normalise import Normalisation, measure
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

    def __init__(self, source: Callable[[], Part]) -> None:
        self._source = source
        self.reads = 0

    def read(self) -> Part:
        """Return the test images, on the CPU, and count the reading."""
        self.reads += 1
        return self._source()


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """A data set as a run uses it."""

    name: str
    train: Part
    """Images to learn from, on the device asked for."""
    validation: Part
    """Images to decide by, on the same device."""
    test: TestSplit
    normalisation: Normalisation
    """Of the images to learn from."""
    augmentation: Augmentation

    @property
    def channels(self) -> int:
        """Return the channels of every image."""
        return self.train.images.shape[1]

    @property
    def size(self) -> int:
        """Return the side of every image, px."""
        return self.train.images.shape[2]


def load(
    config: DataConfig,
    directories: Sequence[Path],
    *,
    split: torch.Generator,
    device: torch.device,
) -> Data:
    """Return a data set, its training part split, in memory on `device`.

    Args:
        config: which, and how.
        directories: where to look, in order.
        split: draws the images held out for validation.
        device: where the images to learn from and to decide by are kept.

    Raises:
        DatasetAbsentError: it lies in none of the directories.
        DatasetError: it cannot be used as it lies there.
    """
    source = SOURCES.get(config.dataset)
    if source is None:
        whole, test = _folder(config.dataset, directories, config.image_size)
        peak = 255
        augmentation = Augmentation(flip=True, shift=whole.images.shape[2] // _FOLDER_SHIFT)
    else:
        whole, test = _known(source, directories, config.image_size)
        peak = source.peak
        augmentation = Augmentation(flip=source.flip, shift=source.shift)
    kept, held = stratified(whole.labels, config.validation, split)
    train = whole.rows(kept)
    return Data(
        name=config.dataset,
        train=train.to(device),
        validation=whole.rows(held).to(device),
        test=test,
        normalisation=measure(train.images, peak),
        augmentation=augmentation if config.augment else NONE,
    )


def _known(
    source: DataSource, directories: Sequence[Path], size: int | None
) -> tuple[Part, TestSplit]:
    files = find_files(source, directories)
    check_memory(source.train, source.channels, size or source.size)
    whole = _resized(read(source.name, files, "train"), size)
    return whole, TestSplit(lambda: _resized(read(source.name, files, "test"), size))


def _folder(name: str, directories: Sequence[Path], size: int | None) -> tuple[Part, TestSplit]:
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
        listed, held = _part(listed, rows[0]), _part(listed, rows[1])
    whole = read_images(listed, size)
    channels, side = whole.images.shape[1], whole.images.shape[2]
    check_images(held, side, channels, scaled=size is not None)
    return whole, TestSplit(lambda: read_images(held, size or side, channels))


def _check_counts(listed: Listing, parts: Sequence[str], name: str) -> None:
    """Refuse a class that has no image for each of the parts that it is split into."""
    counts = Counter(listed.labels)
    for label, cls in enumerate(listed.classes):
        if counts[label] < len(parts):
            raise DatasetError(
                f"every class of {name!r} must have {len(parts)} images or more, to "
                f"{', to '.join(parts)}, class {cls!r} has {counts[label]}"
            )


def _part(listed: Listing, rows: Tensor) -> Listing:
    return Listing(
        files=tuple(listed.files[row] for row in rows.tolist()),
        labels=tuple(listed.labels[row] for row in rows.tolist()),
        classes=listed.classes,
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
