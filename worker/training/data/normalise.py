"""From bytes to numbers of mean 0 and deviation 1, by the training images alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK = 4096  # images measured at once: bounds the float64 copy
_FLAT = 1e-3  # a channel of smaller deviation is constant; dividing by it would only raise noise


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalisation:
    """What a network sees of a pixel: (pixel / peak - mean) / deviation, channel by channel."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    peak: int = 255
    """Pixel value that counts as 1."""

    def apply(self, images: Tensor) -> Tensor:
        """Return (N, C, H, W) uint8 images as the float32 that the network takes."""
        factor = [1 / (self.peak * deviation) for deviation in self.deviation]
        offset = [
            mean / deviation for mean, deviation in zip(self.mean, self.deviation, strict=True)
        ]
        scaled = images.to(torch.float32).mul_(_per_channel(factor, images.device))
        return scaled.sub_(_per_channel(offset, images.device))


def measure(images: Tensor, peak: int) -> Normalisation:
    """Return the normalisation of a set of images.

    Args:
        images: (N, C, H, W) uint8, one or more.
        peak: pixel value that counts as 1.
    """
    count = images.shape[0] * images.shape[2] * images.shape[3]
    total = torch.zeros(images.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for chunk in torch.split(images.cpu(), _CHUNK):
        pixels = chunk.to(torch.float64) / peak
        total += pixels.sum(dim=(0, 2, 3))  # (C,)
        squares += pixels.square().sum(dim=(0, 2, 3))
    mean = total / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
    deviation = torch.where(deviation < _FLAT, torch.ones_like(deviation), deviation)
    return Normalisation(mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()), peak=peak)


def _per_channel(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]
