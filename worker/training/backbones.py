"""Every network that a run can be asked for: those of `slbi`, and torchvision's classifiers."""

from collections.abc import Mapping, Sequence
from typing import Final

import torch

from slbi.nets import backbones
from slbi.nets.adapted import Adapted
from slbi.nets.backbone import Backbone
from slbi.nets.outlining import outline_of
from slbi.nets.published import usual_shape
from slbi.nets.sketch import Outline
from slbi.nets.widths import Widths
from worker.training.classifiers import SmallTorchvision, Torchvision

SIZES = range(8, 224 + 1)
"""Sides of images, px, that a config may ask for, see `config.DataConfig.image_size`."""

SMALL_BELOW: Final = 64
"""Side of an image, px, below which "auto" takes the small stem: at 64 px a standard stem leaves a
map of 2 px, below it one of a single pixel. Source: docs/decisions/0030."""

_TABLED: Final[Mapping[str, Sequence[int]]] = {
    "standard": (64, 96, 128, 160, 192, 224),
    "small": (28, 32, 48, 64, 96),
}
"""Stem -> sides for which the cost of torchvision's networks is tabled, as far as they suit; others
would do as well."""

_SEVENS: Final = (56, 112, 224)
"""Those for networks that take none of the others: the maps of MaxViT must be whole windows of
7 px, after halving them three times."""

_ADAPTED: Final[Mapping[str, type[Adapted]]] = {
    "standard": Torchvision,
    "small": SmallTorchvision,
}


def names() -> tuple[str, ...]:
    """Return the names of all networks."""
    return (*backbones.names(), *Torchvision.names())


def stems(name: str) -> tuple[str, ...]:
    """Return the stems that a network can have, the published one first.

    Raises:
        ValueError: an unknown name.
    """
    _check(name)
    return ("standard",) if name in backbones.names() else tuple(_ADAPTED)


def stem_of(name: str, stem: str, size: int) -> str:
    """Return the stem that is meant by one of `config.STEMS`.

    Args:
        name: of the network.
        stem: "auto" takes the small one, if there is one, for images below `SMALL_BELOW`.
        size: side of an image, px.

    Raises:
        ValueError: an unknown name, or a stem that it cannot have.
    """
    known = stems(name)
    if stem == "auto":
        return "small" if "small" in known and size < SMALL_BELOW else "standard"
    if stem not in known:
        raise ValueError(f"stem of {name} must be auto or {' or '.join(known)}, got {stem!r}")
    return stem


def sizes(name: str, stem: str = "standard") -> list[int]:
    """Return the sides of images, px, that are offered for a network.

    Raises:
        ValueError: an unknown name.
    """
    _check(name)
    candidates = [SIZES] if name in backbones.names() else [_TABLED[stem], _SEVENS]
    for sides in candidates:
        suiting = [size for size in sides if _suits(name, size, stem)]
        if suiting:
            break
    return suiting


def fixed(name: str) -> dict[str, str]:
    """Return the groups that keep the width they start with, each with the reason.

    Raises:
        ValueError: an unknown name.
    """
    _check(name)
    if name in backbones.names():
        return {}
    groups = usual_shape(Torchvision, name).found.coupling.groups
    return {group.name: group.blended for group in groups if group.blended}


def standard_widths(name: str, size: int, stem: str = "standard") -> Widths:
    """Return the widths of the published network.

    Args:
        name: of the network.
        size: side of an image, px.
        stem: one of `config.STEMS`.

    Raises:
        ValueError: an unknown name, a stem that it cannot have, or a size that does not suit.
    """
    resolved = stem_of(name, stem, size)
    if name in backbones.names():
        return backbones.standard_widths(name, size)
    family = _ADAPTED[resolved]
    family.check_size(name, size)
    return family.standard_widths(name)


def outline(name: str, sizes: Sequence[int], stem: str = "standard") -> Outline:
    """Return what the layers of a network cost, for images of these sides, px.

    Raises:
        ValueError: as `standard_widths`, or the stem is "auto".
    """
    if name in backbones.names():
        net = backbones.build(name, in_channels=3, size=sizes[0], classes=2, device="meta")
        return net.outline()
    _check(name)
    if stem == "auto":
        raise ValueError("stem must be standard or small where no size tells it, got 'auto'")
    return outline_of(_ADAPTED[stem], name, tuple(sizes))


def groups(name: str, size: int, stem: str = "standard") -> tuple[str, ...]:
    """Return the names of the groups of filters, in the order of the data.

    Raises:
        ValueError: as `standard_widths`.
    """
    return tuple(standard_widths(name, size, stem))


def build(
    name: str,
    widths: Widths | None = None,
    *,
    in_channels: int,
    size: int,
    classes: int,
    stem: str = "standard",
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Backbone:
    """Return a network with initial weights, in float32. See `slbi.nets.backbones.build`.

    Raises:
        ValueError: as `standard_widths`, or other groups than the network has.
    """
    resolved = stem_of(name, stem, size)
    if name in backbones.names():
        return backbones.build(
            name,
            widths,
            in_channels=in_channels,
            size=size,
            classes=classes,
            generator=generator,
            device=device,
        )
    net = _ADAPTED[resolved].built(
        name,
        standard_widths(name, size, stem) if widths is None else widths,
        in_channels=in_channels,
        size=size,
        classes=classes,
        device=torch.device(device),
        dtype=torch.float32,
    )
    net.initialise(generator)
    return net


def _suits(name: str, size: int, stem: str) -> bool:
    try:
        standard_widths(name, size, stem)
    except ValueError:
        return False
    return True


def _check(name: str) -> None:
    if name not in names():
        raise ValueError(f"backbone must be one of {', '.join(names())}, got {name!r}")
