"""What can be asked for: backbones and data sets, as facts that need no torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GENERATED = Path(__file__).parent / "catalogue.json"
"""Written by `python -m worker.training.catalogue`, which knows the networks and the data."""

Defaults = Mapping[str, Mapping[str, Mapping[str, object]]]
"""Kind of job -> section of the spec -> field -> value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """The outline of one convolution or linear layer. Source: slbi/nets/sketch.py."""

    name: str
    kind: str
    reads: str | None
    """Group whose filters it reads; None reads the image."""
    makes: str | None
    """Group whose filters it makes; None makes the classes."""
    kernel: int
    """Side of the kernel, px."""
    bias: bool
    norm: bool
    """Whether a BatchNorm with scale and shift stands behind it."""
    shrinks: str
    """What happens to the side of the map up to its output; `service.estimate` reads it."""
    block: int
    """Entries that it reads of each filter."""
    sides: Mapping[int, int] | None
    """Side of the image -> side of its map, px, where the network is offered for some alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    """A network that can be grown."""

    name: str
    standard_widths: Mapping[str, int]
    """Group -> filters of the published network, in the order of the data."""
    smallest: int
    """Side of the smallest image it takes, px."""
    largest: int
    only: Sequence[int] | None
    """The only sides it takes, if they are few."""
    layers: Sequence[Layer]

    def refusal(self, size: int) -> str | None:
        """Return why images of this side, px, do not suit; None if they do."""
        if self.only is not None and size not in self.only:
            allowed = " or ".join(str(side) for side in self.only)
            return f"{self.name} takes images of {allowed} px, got {size}"
        if not self.smallest <= size <= self.largest:
            return f"{self.name} takes images of {self.smallest} to {self.largest} px, got {size}"
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A data set known by name."""

    name: str
    title: str
    channels: int
    size: int
    """Side of its images, px."""
    classes: int
    train: int
    """Training images, the validation split included."""
    test: int
    layouts: Sequence[Sequence[str]]
    """Alternative sets of files below a data directory; none: it comes with a library."""
    how_to_get: str
    licence: str
    augmentation: object
    defaults: Defaults


@dataclass(frozen=True)
class Catalogue:
    """Every backbone and data set there is.

    Args:
        facts: as in `GENERATED`.
    """

    facts: Mapping[str, Any]
    backbones: Mapping[str, Backbone] = field(init=False)
    datasets: Mapping[str, Dataset] = field(init=False)
    folder_defaults: Defaults = field(init=False)
    """What suits a folder of images, of which nothing else is known."""

    def __post_init__(self) -> None:
        backbones = {name: _backbone(name, raw) for name, raw in self.facts["backbones"].items()}
        datasets = {name: _dataset(name, raw) for name, raw in self.facts["datasets"].items()}
        object.__setattr__(self, "backbones", backbones)
        object.__setattr__(self, "datasets", datasets)
        object.__setattr__(self, "folder_defaults", self.facts["folder_defaults"])

    @classmethod
    def generated(cls) -> "Catalogue":
        """Return the catalogue that belongs to this version of the project."""
        return cls(json.loads(GENERATED.read_bytes()))


def _backbone(name: str, raw: Mapping[str, Any]) -> Backbone:
    return Backbone(
        name=name,
        standard_widths={group: raw["standard_widths"][group] for group in raw["groups"]},
        smallest=raw["sizes"]["min"],
        largest=raw["sizes"]["max"],
        only=raw["sizes"]["only"],
        layers=[_layer(layer) for layer in raw["layers"]],
    )


def _layer(raw: Mapping[str, Any]) -> Layer:
    sides = raw["sides"]
    if sides is not None:
        sides = {int(size): side for size, side in sides.items()}
    return Layer(**{**raw, "sides": sides})


def _dataset(name: str, raw: Mapping[str, Any]) -> Dataset:
    return Dataset(
        name=name,
        title=raw["title"],
        channels=raw["channels"],
        size=raw["size"],
        classes=raw["classes"],
        train=raw["train"],
        test=raw["test"],
        layouts=raw["files"],
        how_to_get=raw["how_to_get"],
        licence=raw["licence"],
        augmentation=raw["augmentation"],
        defaults=raw["defaults"],
    )
