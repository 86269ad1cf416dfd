"""How training images are varied: all images of a batch at once, from one generator."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 -- torch's own name for it
from torch import Tensor

from worker.training.data.parts import WHOLE, Share


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """What may change in an image without changing its class."""

    flip: bool = False
    """Mirror left and right, one image in two."""
    shift: int = 0
    """Move by up to so many px in each direction; what comes in is black."""
    crop: bool = False
    """Cut out a random piece and scale it; only for images that are read from files each time."""

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise ValueError(f"shift must be >= 0 px, got {self.shift!r}")


NONE = Augmentation()


def frame(images: Tensor, augmentation: Augmentation) -> Tensor:
    """Return images with a black border as wide as they may shift, ready for `vary`.

    Args:
        images: (N, C, H, W) uint8.
        augmentation: its shift is the width of the border.
    """
    shift = augmentation.shift
    return F.pad(images, (shift, shift, shift, shift)) if shift else images


def vary(
    framed: Tensor,
    rows: Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
    share: Share = WHOLE,
) -> Tensor:
    """Return a batch of images, each shifted and mirrored by its own draw.

    One gather takes the batch out of the whole set and moves it, so no image is copied twice.
    The draws come from a CPU generator, so a batch is varied alike on every device.

    Args:
        framed: (N, C, H + 2 shift, W + 2 shift) uint8, see `frame`.
        rows: (B,) int64. Which images.
        augmentation: what may change.
        generator: advanced in place, for all images of `rows`.
        share: which of them are returned.

    Returns:
        (B, C, H, W) uint8.
    """
    shift, count = augmentation.shift, len(rows)
    mine = share.of_batch(count)
    if augmentation == NONE:
        return framed[rows[mine]]
    device = framed.device
    height, width = framed.shape[2] - 2 * shift, framed.shape[3] - 2 * shift
    offsets = torch.randint(2 * shift + 1, (2, count, 1), generator=generator).to(device)
    down = offsets[0] + torch.arange(height, device=device)  # (B, H)
    across = torch.arange(width, device=device).expand(count, width)
    if augmentation.flip:
        mirrored = torch.rand(count, 1, generator=generator).to(device) < 0.5
        across = torch.where(mirrored, width - 1 - across, across)
    across = offsets[1] + across  # (B, W)
    rows, down, across = rows[mine], down[mine], across[mine]
    picked = framed[rows[:, None, None], :, down[:, :, None], across[:, None, :]]  # (B, H, W, C)
    return picked.permute(0, 3, 1, 2)
