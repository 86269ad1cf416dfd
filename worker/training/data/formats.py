"""Readers of the known data sets' files: a part becomes a tensor of pixels and one of labels."""

import gzip
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from worker.training.data.locate import DatasetError
from worker.training.data.parts import WHOLE, Share
from worker.training.data.split import stratified

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10, SVHN

Which = Literal["train", "test"]
"""Which part of a data set to read."""

_FASHION = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
_DIGITS = tuple(str(digit) for digit in range(10))
_UNSIGNED_BYTES = 8  # the idx format's code for uint8, the only one these data sets use
_DIGITS_TEST_SEED = 0  # the bundled digits have no test split of their own: this one is for ever
_DIGITS_TEST_SHARE = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The images of one part of a data set, in memory."""

    images: Tensor
    """(N, C, H, W) uint8."""
    labels: Tensor
    """(N,) int64, index into `classes`."""
    classes: tuple[str, ...]
    """Name of every class."""

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Part":
        """Return the part on another device."""
        return Part(
            images=self.images.to(device), labels=self.labels.to(device), classes=self.classes
        )

    def rows(self, index: Tensor) -> "Part":
        """Return the images of `index`, (M,) int64."""
        return Part(images=self.images[index], labels=self.labels[index], classes=self.classes)

    @property
    def channels(self) -> int:
        """Return the channels of every image."""
        return self.images.shape[1]

    @property
    def size(self) -> int:
        """Return the side of every image, px."""
        return self.images.shape[2]

    def batches(self, batch: int, share: Share = WHOLE) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (N, C, H, W) uint8 images and their labels in order, see `parts.Images`."""
        images, labels = torch.split(self.images, batch), torch.split(self.labels, batch)
        yield from zip(share.turns(images), share.turns(labels), strict=True)

    def sample(self) -> Tensor:
        """Return all images."""
        return self.images

    def fingerprint(self) -> list[int]:
        """Return numbers that change when images or labels do, cheaply: sizes and sums."""
        return [
            number
            for tensor in (self.images, self.labels)
            for number in (*tensor.shape, int(tensor.sum(dtype=torch.int64)))
        ]


def read(name: str, files: Sequence[Path], which: Which) -> Part:
    """Return one part of a known data set from its files, see `locate.find_files`.

    Raises:
        DatasetError: a file does not hold what its format says.
    """
    match name:
        case "digits":
            return read_digits(which)
        case "fashion-mnist":
            return read_idx_pair(files, which, _FASHION)
        case "mnist":
            return read_idx_pair(files, which, _DIGITS)
        case "cifar10" | "cifar100" | "svhn":
            return _read_published(name, files, which)
        case _:
            raise DatasetError(f"no reader for a data set named {name!r}")


def read_digits(which: Which) -> Part:
    """Return the bundled digits: (N, 1, 8, 8), pixels 0 to 16, a fixed fifth is the test part.

    Raises:
        DatasetError: scikit-learn, which brings them, is not installed.
    """
    # Rows of 64 pixels and the label. scikit-learn's own reader takes seconds to load.
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise DatasetError("scikit-learn must be installed for the digits, it is not")
    table = Path(package.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    rows = torch.from_numpy(np.loadtxt(table, np.uint8, delimiter=","))
    part = Part(
        images=rows[:, :-1].reshape(-1, 1, 8, 8),
        labels=rows[:, -1].to(torch.int64),
        classes=_DIGITS,
    )
    generator = torch.Generator().manual_seed(_DIGITS_TEST_SEED)
    kept, held = stratified(part.labels, _DIGITS_TEST_SHARE, generator)
    return part.rows(kept if which == "train" else held)


def read_idx(path: Path) -> Tensor:
    """Return the array of an idx file of bytes, compressed by gzip or not.

    Raises:
        DatasetError: the file is no idx file of bytes, or shorter or longer than its header says.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile) as error:
        raise DatasetError(f"{path} must be a whole gzip file: {error}") from error
    rank = data[3] if len(data) > 3 else 0
    header = 4 + 4 * rank
    if data[:3] != bytes((0, 0, _UNSIGNED_BYTES)) or len(data) < header:
        raise DatasetError(f"{path} must be an idx file of bytes, it begins with {data[:4]!r}")
    shape = tuple(int(side) for side in np.frombuffer(data, ">u4", rank, 4))
    if len(data) != header + math.prod(shape):
        raise DatasetError(
            f"{path} must hold {shape} bytes after its header, got {len(data) - header}"
        )
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy())


def read_idx_pair(files: Sequence[Path], which: Which, classes: tuple[str, ...]) -> Part:
    """Return images and labels of two idx files; `files` are those of training, then of test.

    Raises:
        DatasetError: the files do not belong together.
    """
    first, second = files[:2] if which == "train" else files[2:]
    images, labels = read_idx(first), read_idx(second)
    if images.ndim != 3 or labels.shape != images.shape[:1] or images.shape[1] != images.shape[2]:
        raise DatasetError(
            f"{first} and {second} must be (N, H, H) images and (N,) labels, "
            f"got {tuple(images.shape)} and {tuple(labels.shape)}"
        )
    if int(labels.max()) >= len(classes):
        raise DatasetError(
            f"{second} must hold labels below {len(classes)}, got {int(labels.max())}"
        )
    return Part(images=images[:, None], labels=labels.to(torch.int64), classes=classes)


def read_cifar(root: Path, which: Which, archive: "type[CIFAR10]") -> Part:
    """Return a part of CIFAR through torchvision, (N, 3, 32, 32).

    The files are pickles. torchvision opens one only after its MD5 sum has matched the published
    one, so no other file's code is ever run.

    Args:
        root: the folder that holds the folder of batches.
        which: the part.
        archive: CIFAR10, CIFAR100 or a subclass with its own list of files and sums.

    Raises:
        DatasetError: a file is not the published one.
    """
    try:
        data = archive(root, train=which == "train", download=False)
    except RuntimeError as error:
        folder = root / archive.base_folder
        raise DatasetError(f"the files in {folder} must have the published MD5 sums") from error
    images = torch.from_numpy(np.ascontiguousarray(data.data.transpose(0, 3, 1, 2)))
    labels = torch.tensor(data.targets, dtype=torch.int64)
    return Part(images=images, labels=labels, classes=tuple(data.classes))


def read_svhn(root: Path, which: Which, archive: "type[SVHN]") -> Part:
    """Return a part of SVHN through torchvision, (N, 3, 32, 32).

    Raises:
        DatasetError: the file is not the published one.
    """
    try:
        data = archive(root, split=which, download=False)
    except RuntimeError as error:
        raise DatasetError(f"the files in {root} must have the published MD5 sums") from error
    images = torch.from_numpy(np.ascontiguousarray(data.data))
    return Part(images=images, labels=torch.from_numpy(data.labels), classes=_DIGITS)


def _read_published(name: str, files: Sequence[Path], which: Which) -> Part:
    # torchvision takes seconds to load, and most runs need none of it.
    from torchvision.datasets import CIFAR10, CIFAR100, SVHN  # noqa: PLC0415 - see above

    if name == "svhn":
        return read_svhn(files[0].parent, which, SVHN)
    return read_cifar(files[0].parent.parent, which, CIFAR10 if name == "cifar10" else CIFAR100)
