from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, RandomResizedCrop, Resize
from torchvision.transforms.functional import pil_to_tensor, resized_crop

from worker.training.data.views import Views, middle, piece


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A smooth picture, 300 x 200 px, bright at the left and below."""
    across, down = np.meshgrid(np.linspace(1, 0, 300), np.linspace(0, 1, 200))
    pixels = np.stack([across, down, across * down], axis=2)
    path = tmp_path / "photograph.png"
    Image.fromarray((255 * pixels).astype(np.uint8)).save(path)
    return path


def _views(*, size: int = 64, crop: bool = True, flip: bool = True) -> Views:
    return Views(size=size, channels=3, crop=crop, flip=flip)


def test_evaluation_sees_the_middle_as_torchvision_cuts_it(photograph: Path) -> None:
    found = _views(size=224)[[(str(photograph), None)]]
    reference = Compose([Resize(256), CenterCrop(224)])(Image.open(photograph))
    assert isinstance(found, torch.Tensor)
    difference = found[0].int() - pil_to_tensor(reference).int()
    assert difference.abs().max() <= 2
    assert middle((300, 200)) == (62, 12, 237, 187)  # 175 = 200 x 224 / 256


def test_a_random_piece_is_scaled_as_torchvision_scales_it(photograph: Path) -> None:
    found = _views(flip=False)[[(str(photograph), (7, 1))]]
    left, upper, right, lower = piece((300, 200), np.random.default_rng((7, 1)))
    image = Image.open(photograph)
    reference = resized_crop(image, upper, left, lower - upper, right - left, [64, 64])
    assert isinstance(found, torch.Tensor)
    assert torch.equal(found[0], pil_to_tensor(reference))


def test_random_pieces_are_distributed_as_torchvisions() -> None:
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    blank = torch.empty(3, 200, 300)
    ours, theirs = [], []
    for _ in range(4000):
        left, upper, right, lower = piece((300, 200), random)
        assert 0 <= left < right <= 300
        assert 0 <= upper < lower <= 200
        ours.append((left, upper, right - left, lower - upper))
        top, side, down, across = RandomResizedCrop.get_params(blank, [0.08, 1.0], [3 / 4, 4 / 3])
        theirs.append((side, top, across, down))
    for moment in (np.mean, np.std):
        assert np.allclose(moment(ours, axis=0), moment(theirs, axis=0), rtol=0.06)


@pytest.mark.parametrize("size", [(8, 3000), (3000, 8), (1, 1)])
def test_an_image_of_any_shape_gives_a_square(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "long.png"
    Image.new("RGB", size, (9, 9, 9)).save(path)
    found = _views()[[(str(path), None), (str(path), (0, 0))]]
    assert isinstance(found, torch.Tensor)
    assert found.shape == (2, 3, 64, 64)
    assert set(found.flatten().tolist()) == {9}


def test_one_image_in_two_is_mirrored(photograph: Path) -> None:
    keys = [(str(photograph), (0, row)) for row in range(200)]
    found = _views(crop=False, size=8)[keys]
    assert isinstance(found, torch.Tensor)
    mirrored = (found[:, 0, :, 0] < found[:, 0, :, -1]).all(dim=1)
    assert 70 < int(mirrored.sum()) < 130


def test_a_view_depends_on_its_draw_alone(photograph: Path) -> None:
    keys = [(str(photograph), (5, row)) for row in range(4)]
    together = _views()[keys]
    alone = [_views()[[key]] for key in reversed(keys)]
    assert isinstance(together, torch.Tensor)
    for image, one in zip(together.flip(0), alone, strict=True):
        assert isinstance(one, torch.Tensor)
        assert torch.equal(image, one[0])
    assert not torch.equal(together[0], together[1])


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.JPEG"
    path.write_bytes(b"nothing")
    told = _views()[[(str(path), None)]]
    assert isinstance(told, str)
    assert "broken.JPEG must be a sound PNG or JPEG image" in told


def test_a_damaged_exif_block_leaves_an_image_as_it_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "camera.JPEG"
    # A directory of one entry that ends in its middle.
    damaged = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01"
    Image.new("RGB", (40, 20), (200, 200, 200)).save(path, exif=damaged)
    with pytest.warns(UserWarning, match="Corrupt EXIF"), Image.open(path):
        pass
    assert isinstance(_views()[[(str(path), None)]], torch.Tensor)
