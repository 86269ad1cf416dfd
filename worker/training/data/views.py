"""What is seen of an image file: its middle, or a random piece of it, scaled to a square."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from worker.training.data.folder import picture, pixels
from worker.training.data.locate import DatasetError

Key = tuple[str, tuple[int, int] | None]
"""A file, and the numbers that its random piece is drawn from; None sees its middle."""

Box = tuple[int, int, int, int]
"""Left, upper, right and lower edge, px."""

_MIDDLE = 224 / 256
"""Side of the middle as a share of the shorter side. Source: torchvision's ImageNet reference,
which scales the shorter side to 256 px and cuts out 224."""
_AREA = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)
_TRIES = 10
"""Share of the area and ratio of the sides of a random piece, and how often one is drawn until it
lies inside. Source: Szegedy et al. 2014, as torchvision's RandomResizedCrop has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Views(Dataset[Tensor | str]):
    """Reads batches of image files; it keeps nothing, so that any process may read any batch."""

    size: int
    """Side of the squares, px."""
    channels: int
    crop: bool
    """Whether a drawn view is a random piece."""
    flip: bool
    """Whether a drawn view may be mirrored, one in two."""

    def __getitem__(self, keys: Sequence[Key]) -> Tensor | str:
        """Return (B, C, size, size) uint8, or why an image of them cannot be read."""
        images = torch.empty((len(keys), self.channels, self.size, self.size), dtype=torch.uint8)
        try:
            for row, (file, draw) in enumerate(keys):
                images[row] = self._view(file, draw)
        except DatasetError as error:
            return str(error)  # raised in another process, it would carry a stack trace with it
        return images

    def _view(self, file: str, draw: tuple[int, int] | None) -> Tensor:
        with picture(file, self.channels) as image:
            if draw is None:
                return pixels(_scaled(image, middle(image.size), self.size))
            random = np.random.default_rng(draw)
            box = piece(image.size, random) if self.crop else middle(image.size)
            square = _scaled(image, box, self.size)
            if self.flip and random.random() < 0.5:
                square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            return pixels(square)


def middle(size: tuple[int, int]) -> Box:
    """Return the square in the middle of an image of this width and height that evaluation sees."""
    side = max(1, round(min(size) * _MIDDLE))
    left, upper = (size[0] - side) // 2, (size[1] - side) // 2
    return left, upper, left + side, upper + side


def piece(size: tuple[int, int], random: np.random.Generator) -> Box:
    """Return a random piece of an image of this width and height, as torchvision draws it.

    Args:
        size: width and height, px.
        random: advanced in place.
    """
    width, height = size
    for _ in range(_TRIES):
        area = width * height * random.uniform(*_AREA)
        ratio = math.exp(random.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left = int(random.integers(width - across + 1))
            upper = int(random.integers(height - down + 1))
            return left, upper, left + across, upper + down
    across = min(width, round(height * _RATIO[1]))
    down = min(height, round(width / _RATIO[0]))
    left, upper = (width - across) // 2, (height - down) // 2
    return left, upper, left + across, upper + down


def _scaled(image: Image.Image, box: Box, size: int) -> Image.Image:
    """Return what a box holds, scaled to a square; cut first, so that no side can become huge."""
    return image.crop(box).resize((size, size), Image.Resampling.BILINEAR)
