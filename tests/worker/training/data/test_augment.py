import pytest
import torch

from worker.training.data.augment import NONE, Augmentation, frame, vary


def _vary(images: torch.Tensor, augmentation: Augmentation, seed: int = 0) -> torch.Tensor:
    rows = torch.arange(len(images))
    generator = torch.Generator().manual_seed(seed)
    return vary(frame(images, augmentation), rows, augmentation, generator)


def _images(count: int = 64, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(1, 256, (count, channels, 6, 6), generator=generator).to(torch.uint8)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift", [0, 2])
def test_a_varied_image_is_the_image_moved_and_mirrored(flip: bool, shift: int) -> None:
    images = _images()
    augmentation = Augmentation(flip=flip, shift=shift)
    varied = _vary(images, augmentation)
    framed = frame(images, augmentation)
    seen = set()
    for before, after in zip(framed, varied, strict=True):
        found = [
            (down, across, mirrored)
            for down in range(2 * shift + 1)
            for across in range(2 * shift + 1)
            for mirrored in ([False, True] if flip else [False])
            if torch.equal(
                after.flip(-1) if mirrored else after,
                before[:, down : down + 6, across : across + 6],
            )
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > (1 if flip or shift else 0)
    assert {mirrored for *_, mirrored in seen} == ({False, True} if flip else {False})


def test_without_augmentation_images_stay() -> None:
    images = _images()
    assert torch.equal(_vary(images, NONE), images)


def test_the_seed_fixes_the_variation() -> None:
    augmentation = Augmentation(flip=True, shift=2)
    first, again, other = (_vary(_images(), augmentation, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_negative_shift_is_refused() -> None:
    with pytest.raises(ValueError, match="shift must be >= 0 px, got -1"):
        Augmentation(shift=-1)
