"""All classifiers of torchvision, as they are published and with a stem for small images."""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import ClassVar, get_type_hints

from torch import nn

from slbi.nets import backbones
from slbi.nets.adapted import Adapted
from slbi.nets.hollow import hollow
from slbi.nets.stem import Reduction, reduction, take_out

_OFF = ("aux_logits", "init_weights")
"""Arguments that are turned off where there are any: heads for training alone, and initial weights
that nobody uses."""

_SIDES = ("image_size", "input_size")
"""Arguments that are the side of an image, or both, px."""

_KEPT = (*_SIDES, "patch_size")
"""Attributes that remember a side, px."""

_RENAMED = "_imagenet"
"""Behind names of torchvision that networks of this project have too."""


class Torchvision(Adapted):
    """A classifier of torchvision. See `Backbone`."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return their names: torchvision's; where ours clash, "_imagenet" follows."""
        return tuple(_builders())

    @classmethod
    def sided(cls, name: str) -> bool:
        """Return whether its class takes the side of its images."""
        return not _arguments(_builders()[name]).keys().isdisjoint(_SIDES)

    @classmethod
    def standard(cls, name: str, *, in_channels: int, size: int, classes: int) -> nn.Module:
        """Return the published network; of other images than RGB its first layer differs."""
        make = _builders()[name]
        known = _arguments(make)
        sides = {key: _side(size, known[key]) for key in _SIDES if key in known}
        off = {key: False for key in _OFF if key in known}
        net = make(num_classes=classes, **off, **sides)
        if in_channels != 3:
            first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
            shape = (first.out_channels, in_channels, *first.kernel_size)
            first.weight = nn.Parameter(first.weight.new_empty(shape))
            first.in_channels = in_channels
        return net


class SmallTorchvision(Torchvision):
    """A classifier of torchvision for small images. See `slbi.nets.stem`."""

    stem: ClassVar[str] = "small"

    @classmethod
    def standard(cls, name: str, *, in_channels: int, size: int, classes: int) -> nn.Module:
        """Return the published network with the first of its reduction taken out."""
        found = _reduction(name)
        # A network that knows the side of its images counts in what is left of it.
        net = super().standard(
            name, in_channels=in_channels, size=size * found.factor, classes=classes
        )
        take_out(net, found)
        for key in _KEPT:
            if isinstance(getattr(net, key, None), int):
                setattr(net, key, getattr(net, key) // found.factor)
        return net


@lru_cache(maxsize=128)
def _reduction(name: str) -> Reduction:
    size = Torchvision.usual(name)
    net = hollow(lambda: Torchvision.standard(name, in_channels=3, size=size, classes=2))
    return reduction(net.to("meta"), (3, size, size))


@lru_cache(maxsize=1)
def _builders() -> Mapping[str, Callable[..., nn.Module]]:
    from torchvision import models  # noqa: PLC0415 - takes a second, and few processes need it

    ours = backbones.names()
    return {
        f"{name}{_RENAMED}" if name in ours else name: models.get_model_builder(name)
        for name in models.list_models(module=models)
    }


def _arguments(make: Callable[..., nn.Module]) -> Mapping[str, object]:
    """Return what the class that a builder returns takes: name -> annotation."""
    made: type[nn.Module] = get_type_hints(make)["return"]
    return {
        name: parameter.annotation for name, parameter in inspect.signature(made).parameters.items()
    }


def _side(size: int, annotation: object) -> int | tuple[int, int]:
    return size if annotation is int else (size, size)
