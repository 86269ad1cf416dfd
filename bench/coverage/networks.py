"""The networks that are tried, by name: made without weights, then given random ones."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch
import torchvision.models
from torch import nn

from slbi.nets.counted import CountedLayerNorm
from slbi.nets.graph.counted import counted
from slbi.nets.graph.find import Found

SIDES = (64, 128, 224, 299)
"""Sides of an image, px, small to large; a network is tried at the first that it takes."""


def names() -> list[str]:
    """Return every classifier in torchvision's registry."""
    listed: list[str] = torchvision.models.list_models(module=torchvision.models)
    return listed


def standard(name: str) -> nn.Module:
    """Return a published network whose parameters have shapes only; buffers have their data.

    Raises:
        ValueError: there is none of that name.
    """
    with _without_weights():
        net: nn.Module = torchvision.models.get_model(name, weights=None)
    return net


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundNet:
    """A published network without data, and what was found of it."""

    net: nn.Module
    """Its LayerNorms count where a stream under them is to grow."""
    found: Found
    side: int
    """Of an image, px: the first of `SIDES` that it takes."""
    seconds: float
    """Of one core, of the search at that side."""


def found(name: str) -> FoundNet:
    """Return a published network and its coupling.

    Raises:
        ValueError: there is none of that name, or it takes no image of `SIDES`.
    """
    net = standard(name)
    refusals = []
    for side in SIDES:
        began = time.process_time()
        try:
            new, coupled = counted(net, (3, side, side))
        except ValueError as error:
            refusals.append(str(error))
        else:
            seconds = time.process_time() - began
            return FoundNet(net=new, found=coupled, side=side, seconds=seconds)
    raise ValueError(refusals[-1])


@torch.no_grad()
def materialised(net: nn.Module, seed: int) -> nn.Module:
    """Return a network with uneven norms and random weights, in place of weights without data."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, CountedLayerNorm):
            module.counted = torch.ones_like(module.counted, device="cpu")
        for name, parameter in module.named_parameters(recurse=False):
            filled = torch.empty_like(parameter, device="cpu")
            if filled.ndim > 1:
                filled.normal_(generator=generator).div_(math.sqrt(filled[0].numel()))
            else:
                low, high = (0.9, 1.1) if name == "weight" else (-0.1, 0.1)
                filled.uniform_(low, high, generator=generator)
            setattr(module, name, nn.Parameter(filled))
    return net


@contextmanager
def _without_weights() -> Iterator[None]:
    """Let every parameter that is made have its shape only; buffers have their data."""
    register = nn.Module.register_parameter

    def hollow(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        register(module, name, None if parameter is None else nn.Parameter(parameter.to("meta")))

    # torch has no switch for it: its own `torch.device("meta")` takes the data of buffers too.
    with patch.object(nn.Module, "register_parameter", hollow):
        yield
