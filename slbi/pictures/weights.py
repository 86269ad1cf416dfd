"""Weights as small images, one a filter."""

from typing import Literal, get_args

import torch
from torch import Tensor

Channels = Literal["auto", "rms", "mean"]
"""What becomes of the input channels of a filter, see `weight_images`."""

Over = Literal["filter", "layer"]
"""What shares one scale: each filter has its own, or the whole layer has one."""


def weight_images(weight: Tensor, *, channels: Channels = "auto", over: Over = "filter") -> Tensor:
    """Return the filters of a layer as images in [0, 1].

    What has a sign (the weights themselves, and their mean) is 0.5 + w / (2 peak), so that zero is
    the middle grey; a root mean square is value / peak, so that zero is black. The peak is the
    largest size in the filter or in the layer. A filter of zeros alone is 0.5 or 0 throughout.

    Args:
        weight: (O, I, H, W), (O, I, L) or (O, I). Of a convolution or a linear layer, by
            `find_weight`.
        channels: "auto" shows one input channel as it is, three as red, green and blue, and of any
            other number their root mean square. "rms" and "mean" do that whatever the number. The
            root mean square tells how strongly each place of the kernel is read. The mean keeps
            the sign, but the channels of a deep layer have no common sign, and cancel.
        over: scale by filter, to see shapes, or by layer, to compare strengths.

    Returns:
        (O, H, W), or (O, 3, H, W) for red, green and blue, in the dtype of `weight`. A linear
        layer's unit is one row of pixels: (O, 1, I).

    Raises:
        ValueError: `weight` is of another rank or not finite; `channels` or `over` is unknown.
    """
    _check(weight, channels, over)
    filters = _as_images(weight.detach())  # (O, I, H, W)
    n_channels = filters.shape[1]
    images = filters
    if channels == "mean":
        images = filters.mean(dim=1, keepdim=True)
    elif channels == "rms" or n_channels not in (1, 3):
        images = filters.square().mean(dim=1, keepdim=True).sqrt()
    signed = channels == "mean" or (channels == "auto" and n_channels in (1, 3))
    images = _scaled(images, over)
    if signed:
        images = images / 2 + 0.5
    return images.squeeze(1) if images.shape[1] == 1 else images


def _check(weight: Tensor, channels: str, over: str) -> None:
    if not 2 <= weight.ndim <= 4 or weight.numel() == 0:
        raise ValueError(
            f"weight must be (O, I), (O, I, L) or (O, I, H, W), got shape {tuple(weight.shape)}"
        )
    if not bool(torch.isfinite(weight).all()):
        raise ValueError("weight must be finite, got an infinity or NaN")
    for name, value, known in (
        ("channels", channels, get_args(Channels)),
        ("over", over, get_args(Over)),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def _as_images(weight: Tensor) -> Tensor:
    """Return (O, I, H, W): a 1-D kernel is one row, and so is what a linear unit reads."""
    if weight.ndim == 2:
        return weight[:, None, None, :]
    return weight[:, :, None, :] if weight.ndim == 3 else weight


def _scaled(images: Tensor, over: Over) -> Tensor:
    """Return images divided by the largest size of each, or of all; zeros stay zero."""
    sizes = images.abs()
    peak = sizes.amax(dim=(1, 2, 3), keepdim=True) if over == "filter" else sizes.amax()
    return images / torch.where(peak > 0, peak, torch.ones_like(peak))
