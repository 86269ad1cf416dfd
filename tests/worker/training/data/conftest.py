import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(array: np.ndarray) -> bytes:
    shape = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return bytes((0, 0, 8, array.ndim)) + shape + array.astype(np.uint8).tobytes()


@pytest.fixture
def write_idx(tmp_path: Path) -> Callable[..., np.ndarray]:
    """Writes MNIST's four files into a folder and returns the training images."""
    random = np.random.default_rng(0)

    def write(folder: str, *, compressed: bool, train: int = 40, test: int = 20) -> np.ndarray:
        target = tmp_path / folder
        target.mkdir(parents=True)
        arrays: list[np.ndarray] = []
        for count in (train, test):
            arrays += [random.integers(0, 256, (count, 28, 28)), np.arange(count) % 10]
        for name, array in zip(IDX_NAMES, arrays, strict=True):
            data = idx_bytes(array)
            path = target / (f"{name}.gz" if compressed else name)
            path.write_bytes(gzip.compress(data) if compressed else data)
        return arrays[0]

    return write


@pytest.fixture
def write_images(tmp_path: Path) -> Callable[..., None]:
    """Writes images of two classes below a folder: cats are dark, dogs are bright."""
    random = np.random.default_rng(0)

    def write(
        folder: str, *, count: int = 4, size: tuple[int, int] = (12, 12), suffix: str = "png"
    ) -> None:
        for name, level in (("cat", 30), ("dog", 220)):
            target = tmp_path / folder / name
            target.mkdir(parents=True)
            for number in range(count):
                pixels = level + random.integers(-9, 10, (size[1], size[0], 3))
                image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
                image.save(target / f"{number}.{suffix}")

    return write


@pytest.fixture
def write_imagenet(tmp_path: Path) -> Callable[..., None]:
    """Writes three classes in ImageNet's layout, of images of many shapes, each class its hue."""
    random = np.random.default_rng(0)

    def write(*, train: int = 8, val: int = 3) -> None:
        for part, count in (("train", train), ("val", val)):
            for label, name in enumerate(("n01440764", "n01443537", "n01484850")):
                target = tmp_path / "imagenet" / part / name
                target.mkdir(parents=True)
                for number in range(count):
                    width, height = random.integers(30, 60, 2)
                    pixels = random.integers(0, 120, (height, width, 3))
                    pixels[..., label] += 120
                    image = Image.fromarray(pixels.astype(np.uint8))
                    image.save(target / f"{name}_{number}.JPEG", quality=90)

    return write
