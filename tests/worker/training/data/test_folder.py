import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worker.training.data.folder import PIXELS, check_memory, listing, read_images
from worker.training.data.locate import DatasetError


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg"])
def test_images_are_read_class_by_class(
    write_images: Callable[..., None], tmp_path: Path, suffix: str
) -> None:
    write_images("mine", suffix=suffix)
    part = read_images(listing(tmp_path / "mine", tmp_path), None)
    assert part.classes == ("cat", "dog")
    assert part.images.shape == (8, 3, 12, 12)
    assert part.labels.tolist() == [0] * 4 + [1] * 4
    assert part.images[:4].float().mean() < 60
    assert part.images[4:].float().mean() > 190


def test_images_of_any_size_are_scaled_and_cut_to_a_square(
    write_images: Callable[..., None], tmp_path: Path
) -> None:
    write_images("mine", size=(40, 20))
    assert read_images(listing(tmp_path / "mine", tmp_path), 10).images.shape == (8, 3, 10, 10)


def test_without_a_size_images_must_be_squares_of_one_size(
    write_images: Callable[..., None], tmp_path: Path
) -> None:
    write_images("mine", size=(40, 20))
    with pytest.raises(DatasetError, match=r"set image_size: .* is 40 x 20"):
        read_images(listing(tmp_path / "mine", tmp_path), None)
    write_images("other")
    Image.new("RGB", (9, 9)).save(tmp_path / "other" / "dog" / "z.png")
    with pytest.raises(DatasetError, match=r"set image_size: .*z.png is 9 x 9"):
        read_images(listing(tmp_path / "other", tmp_path), None)


def test_only_grey_images_make_one_channel(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        Image.new("L", (8, 8), 7).save(tmp_path / "mine" / name / "a.png")
    grey = read_images(listing(tmp_path / "mine", tmp_path), None)
    assert grey.images.shape == (2, 1, 8, 8)
    assert set(grey.images.flatten().tolist()) == {7}
    Image.new("RGB", (8, 8)).save(tmp_path / "mine" / "dog" / "b.png")
    assert read_images(listing(tmp_path / "mine", tmp_path), None).images.shape == (3, 3, 8, 8)


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        image = Image.new("RGB", (8, 8), (200, 10, 10)).quantize(4)
        image.save(tmp_path / "mine" / name / "a.png", transparency=bytes(4))
    part = read_images(listing(tmp_path / "mine", tmp_path), None)
    assert part.images[0, :, 0, 0].tolist() == [200, 10, 10]


def _png_header(width: int, height: int) -> bytes:
    """Return the start of a PNG that claims a size and holds nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no image at all", "sound PNG or JPEG"),
        (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "sound PNG or JPEG"),
        (_png_header(12, 12), "sound PNG or JPEG"),
        (_png_header(60000, 60000), "sound PNG or JPEG"),
        (_png_header(9000, 9000), f"at most {PIXELS} pixels"),
    ],
)
def test_a_file_that_is_no_small_sound_image_is_refused_by_name(
    write_images: Callable[..., None], tmp_path: Path, content: bytes, told: str
) -> None:
    write_images("mine")
    (tmp_path / "mine" / "dog" / "z.png").write_bytes(content)
    with pytest.raises(DatasetError, match=told) as refusal:
        read_images(listing(tmp_path / "mine", tmp_path), 12, channels=3)
    assert "z.png" in str(refusal.value)


def test_images_of_more_than_eight_bits_are_refused(
    write_images: Callable[..., None], tmp_path: Path
) -> None:
    write_images("mine")
    deep = np.full((12, 12), 40000, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "mine" / "dog" / "z.png")
    with pytest.raises(DatasetError, match="8 bits a channel"):
        read_images(listing(tmp_path / "mine", tmp_path), None)


def test_an_image_that_is_a_link_out_of_the_directory_is_refused(
    write_images: Callable[..., None], tmp_path: Path
) -> None:
    write_images("data/mine")
    Image.new("RGB", (12, 12)).save(tmp_path / "secret.png")
    (tmp_path / "data" / "mine" / "dog" / "z.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DatasetError, match="must stay inside"):
        listing(tmp_path / "data" / "mine", tmp_path / "data")


def test_classes_must_be_two_filled_and_those_of_training(
    write_images: Callable[..., None], tmp_path: Path
) -> None:
    write_images("mine")
    with pytest.raises(DatasetError, match="must hold the classes a, b, got cat, dog"):
        listing(tmp_path / "mine", tmp_path, ("a", "b"))
    with pytest.raises(DatasetError, match="2 classes or more, got 0"):
        listing(tmp_path / "mine" / "cat", tmp_path)
    (tmp_path / "mine" / "eel").mkdir()
    with pytest.raises(DatasetError, match="eel must hold PNG or JPEG images, got none"):
        listing(tmp_path / "mine", tmp_path)


def test_more_images_than_fit_in_memory_are_refused_with_the_way_out() -> None:
    with pytest.raises(DatasetError, match=r"at most 2 GiB.*set a smaller image_size"):
        check_memory(100_000, 3, 224)
