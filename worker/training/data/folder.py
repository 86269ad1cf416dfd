"""Folders of images by class: PNG and JPEG files that lie in one folder a class."""

import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from worker.training.data.formats import Part
from worker.training.data.locate import DatasetError, inside

FORMATS = ("PNG", "JPEG")
"""The only formats Pillow is let open: its other readers are old and rarely tested."""
PIXELS = 2**26
"""Pixels an image may have at most, about 8192 x 8192: a small file can unpack to very many."""
MEMORY = 2 * 2**30
"""Bytes that one part may fill in memory."""

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"})
_GREY = frozenset({"1", "L", "LA"})
_DAMAGED_EXIF = "(Possibly c|C)orrupt EXIF"  # how Pillow's warnings of it begin
_REFUSALS = (
    OSError,
    SyntaxError,
    ValueError,
    struct.error,
    Warning,
    Image.DecompressionBombError,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Images of one part: their files, and the class of each."""

    files: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]

    def rows(self, index: Tensor) -> "Listing":
        """Return the images of `index`, (M,) int64."""
        rows = index.tolist()
        return Listing(
            files=tuple(self.files[row] for row in rows),
            labels=tuple(self.labels[row] for row in rows),
            classes=self.classes,
        )


def listing(folder: Path, directory: Path, classes: Sequence[str] | None = None) -> Listing:
    """Return the images below `folder`, class by class and file by file in the order of names.

    Args:
        folder: holds one folder a class.
        directory: the data directory that no link may lead out of.
        classes: the classes there must be, None for those found.

    Raises:
        DatasetError: other classes, fewer than two, an empty one, or a link out of `directory`.
    """
    folders = {entry.name: entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
    if len(folders) < 2:
        raise DatasetError(
            f"{folder} must hold one folder for each of 2 classes or more, got {len(folders)}"
        )
    if classes is not None and tuple(folders) != tuple(classes):
        raise DatasetError(
            f"{folder} must hold the classes {', '.join(classes)}, got {', '.join(folders)}"
        )
    files: list[str] = []
    labels: list[int] = []
    for label, entry in enumerate(folders.values()):
        found = _images_of(entry, directory)
        if not found:
            raise DatasetError(f"{entry} must hold PNG or JPEG images, got none")
        files.extend(found)
        labels.extend([label] * len(found))
    return Listing(files=tuple(files), labels=tuple(labels), classes=tuple(folders))


def read_images(listed: Listing, size: int | None, channels: int | None = None) -> Part:
    """Return the images of a listing, each scaled to fill a square and cut at its centre.

    Args:
        listed: the files.
        size: side of the square, px; None: the images are squares of one size already.
        channels: 1 or 3; None: 1 where every image is grey, else 3.

    Raises:
        DatasetError: a file is no PNG or JPEG image of 8 bits a channel, has too many pixels, is
            not of the common size where `size` is None, or all together fill too much memory.
    """
    scale = size is not None
    size = _common_size(listed.files[0]) if size is None else size
    if channels is None:
        channels = channels_of(listed)
    check_memory(len(listed.files), channels, size)
    images = torch.empty((len(listed.files), channels, size, size), dtype=torch.uint8)
    for row, file in enumerate(listed.files):
        images[row] = _pixels(file, size, channels, scale=scale)
    labels = torch.tensor(listed.labels, dtype=torch.int64)
    return Part(images=images, labels=labels, classes=listed.classes)


def check_images(listed: Listing, size: int, channels: int, *, scaled: bool) -> None:
    """Refuse a listing of which an image cannot be read: a run must not learn that at its end.

    Args:
        listed: the files.
        size: side of the squares they are to become, px.
        channels: 1 or 3.
        scaled: whether they may be scaled to it.

    Raises:
        DatasetError: as `read_images`.
    """
    check_memory(len(listed.files), channels, size)
    for file in listed.files:
        _pixels(file, size, channels, scale=scaled)


def check_memory(count: int, channels: int, size: int) -> None:
    """Refuse a part whose images would fill more than `MEMORY`.

    Raises:
        DatasetError: they would.
    """
    needed = count * channels * size * size
    if needed > MEMORY:
        raise DatasetError(
            f"images must fill at most {MEMORY / 2**30:.0f} GiB in memory, {count} of "
            f"{channels} x {size} x {size} fill {needed / 2**30:.1f}: set a smaller image_size, "
            "or leave a folder's images on disk"
        )


def fits(listed: Listing, size: int) -> bool:
    """Return whether the images of a listing can be held in memory at this size, px."""
    grey = len(listed.files) * size * size
    if grey > MEMORY:
        return False
    return 3 * grey <= MEMORY or channels_of(listed) == 1


def channels_of(listed: Listing) -> int:
    """Return 1 where every image is grey, else 3; it looks into every file."""
    return 1 if all(_header(file)[0] in _GREY for file in listed.files) else 3


@contextmanager
def picture(file: str, channels: int) -> Iterator[Image.Image]:
    """Open an image, upright and of so many channels.

    Args:
        file: its path.
        channels: 1 or 3.

    Raises:
        DatasetError: it is no PNG or JPEG image of 8 bits a channel, or has too many pixels.
    """
    with _reading(file), Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > PIXELS:
            raise DatasetError(
                f"{file} must have at most {PIXELS} pixels, is {image.width} x {image.height}"
            )
        if image.mode not in _MODES:
            raise DatasetError(f"{file} must have 8 bits a channel, its mode is {image.mode}")
        upright = ImageOps.exif_transpose(image)
        # A palette may carry transparency, which Pillow only drops without a warning from RGBA.
        opaque = upright.convert("RGBA") if upright.mode == "P" else upright
        yield opaque.convert("L" if channels == 1 else "RGB")


def pixels(image: Image.Image) -> Tensor:
    """Return an image of 1 or 3 channels, (C, H, W) uint8."""
    array = np.array(image, dtype=np.uint8).reshape(image.height, image.width, -1)
    return torch.from_numpy(array).permute(2, 0, 1)


def _images_of(folder: Path, directory: Path) -> list[str]:
    """Return the images of one class in the order of names, links resolved.

    Only links are resolved one by one: a folder may hold a million files.
    """
    base = inside(folder, directory)
    with os.scandir(folder) as entries:
        found = sorted(
            (entry.name, entry.is_symlink())
            for entry in entries
            if Path(entry.name).suffix.lower() in _SUFFIXES
        )
    return [
        str(inside(folder / name, directory)) if link else f"{base}{os.sep}{name}"
        for name, link in found
    ]


def _common_size(file: str) -> int:
    _, (width, height) = _header(file)
    if width != height:
        raise DatasetError(
            f"set image_size: {file} must be a square without it, is {width} x {height}"
        )
    return width


def _header(file: str) -> tuple[str, tuple[int, int]]:
    """Return mode and size of an image without unpacking it."""
    with _reading(file), Image.open(file, formats=FORMATS) as image:
        return image.mode, image.size


def _pixels(file: str, size: int, channels: int, *, scale: bool) -> Tensor:
    """Return one image, (C, size, size) uint8."""
    with picture(file, channels) as image:
        square = image
        if scale:
            square = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
        if square.size != (size, size):
            raise DatasetError(
                f"set image_size: without it every image must be {size} x {size}, "
                f"{file} is {square.width} x {square.height}"
            )
        return pixels(square)


@contextmanager
def _reading(file: str) -> Iterator[None]:
    """Turn every way in which Pillow refuses a file, warnings included, into a `DatasetError`.

    A damaged EXIF block is no reason: a dozen images of ImageNet have one, and sound pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", _DAMAGED_EXIF, UserWarning)
        try:
            yield
        except DatasetError:
            raise
        except _REFUSALS as error:
            raise DatasetError(f"{file} must be a sound PNG or JPEG image: {error}") from error
