"""Initial values of weights, drawn from an explicit generator."""

import math

import torch
from torch import Tensor

RELU_GAIN = math.sqrt(2.0)
"""Gain that keeps the variance through a ReLU. Source: He et al. 2015, arXiv 1502.01852."""


def deviation(fan_in: int, *, gain: float = RELU_GAIN) -> float:
    """Return the standard deviation of initial weights that read `fan_in` values.

    Fan-in, not fan-out: every filter then starts at a norm of about `gain`, whatever the widths, so
    one mu suits all layers, and a filter that is added later starts like its elders.
    """
    return gain / math.sqrt(max(1, fan_in))


def draw(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return standard normal values with the dtype and on the device of `like`.

    They are drawn where the generator lives, so that a CPU generator gives the same values to every
    device; None is torch's default CPU generator.
    """
    device = torch.device("cpu") if generator is None else generator.device
    drawn = torch.empty(shape, dtype=like.dtype, device=device)
    return drawn.normal_(generator=generator).to(like.device)
