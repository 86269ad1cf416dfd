"""What can be asked for: backbones and data sets, as facts that need no torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

GENERATED = Path(__file__).parent / "catalogue.json"
"""Written by `python -m worker.training.catalogue`, which knows the networks and the data."""

SMALL_BELOW = 64
"""Side of an image, px, below which "auto" takes the small stem. Source:
worker/training/backbones.py."""

Defaults = Mapping[str, Mapping[str, Mapping[str, object]]]
"""Kind of job -> section of the spec -> field -> value."""


CHANNELS, CLASSES = ":channels", ":classes"
"""Stand in a form for the channels of an image and for the classes, as groups for their filters."""

Form = tuple[int, tuple[tuple[str, int], ...]]
"""A number that follows from the widths: a constant, and what each filter of some groups adds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """The outline of one convolution or linear layer. Source: slbi/nets/sketch.py."""

    name: str
    kind: str
    """conv or linear."""
    makes: Form
    """Filters that it makes."""
    reads: Form
    """Weights that one of them has."""
    positions: Mapping[int, int] | None
    """Side of the image -> how often every weight is used for one; None: see `shrinks`."""
    shrinks: str
    """What happens to the side of the map up to its output; `service.estimate` reads it."""
    called: bool
    """Whether its output can be looked at; else the network takes its weights alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outline:
    """What a network costs, at any widths."""

    layers: tuple[Layer, ...]
    rest: Form
    """Parameters beside the layers' weights."""
    beside: Mapping[int, tuple[int, int, int]]
    """Side of the image -> parameters, multiply-accumulates and activations besides."""


@dataclass(frozen=True, kw_only=True)
class Stem:
    """A network with one of its stems."""

    smallest: int
    """Side of the smallest image it takes, px."""
    largest: int
    only: Sequence[int] | None
    """The only sides it takes, if they are few."""
    groups: tuple[str, ...]
    facts: Mapping[str, Any]
    """The outline, as in the file; it is long, and few are ever asked for."""

    @cached_property
    def outline(self) -> Outline:
        """Return what it costs."""
        facts, names = self.facts, (*self.groups, CLASSES, CHANNELS)  # -1 and -2 count from the end
        sizes = self.only or [self.smallest]

        def form(short: Sequence[int]) -> Form:
            constant, *rest = short
            return constant, tuple(
                (names[number], each) for number, each in zip(rest[::2], rest[1::2], strict=True)
            )

        layers = []
        for name, kind, makes, reads, used, called in facts["layers"]:
            at = facts["positions"][used]
            layers.append(
                Layer(
                    name=name,
                    kind="conv" if kind == "c" else "linear",
                    makes=form(makes),
                    reads=form(reads),
                    positions=None if isinstance(at, str) else dict(zip(sizes, at, strict=True)),
                    shrinks=at if isinstance(at, str) else "",
                    called=bool(called),
                )
            )
        beside = {int(size): (each[0], each[1], each[2]) for size, each in facts["beside"].items()}
        return Outline(layers=tuple(layers), rest=form(facts["rest"]), beside=beside)

    def refusal(self, size: int) -> str | None:
        """Return why images of this side, px, do not suit; None if they do."""
        if self.only is not None and size not in self.only:
            allowed = " or ".join(str(side) for side in self.only)
            return f"takes images of {allowed} px, got {size}"
        if not self.smallest <= size <= self.largest:
            return f"takes images of {self.smallest} to {self.largest} px, got {size}"
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What a network costs as it was published, for 3 channels and 1,000 classes."""

    size: int
    """Side of the image, px."""
    params: int
    macs: int
    """Multiply-accumulates of one image, forward."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    """A network that can be grown."""

    name: str
    standard_widths: Mapping[str, int]
    """Group -> filters of the published network, in the order of the data."""
    published: Published
    fixed: Mapping[str, str]
    """Groups that keep the width they start with -> why."""
    stems: Mapping[str, Stem]
    """standard, and small where it can have that."""

    def stem(self, asked: str, size: int) -> str:
        """Return which of its stems is meant for images of this side, px.

        Source: worker/training/backbones.py, `stem_of`.
        """
        if asked == "auto":
            return "small" if "small" in self.stems and size < SMALL_BELOW else "standard"
        return asked

    def layers(self) -> tuple[Layer, ...]:
        """Return its layers, which are the same with all stems but for their numbers."""
        return self.stems["standard"].outline.layers


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
    standard = raw["standard_widths"]
    return Backbone(
        name=name,
        standard_widths=standard,
        published=Published(**raw["published"]),
        fixed=raw["fixed"],
        stems={
            stem: Stem(
                smallest=facts["sizes"]["min"],
                largest=facts["sizes"]["max"],
                only=facts["sizes"]["only"],
                groups=tuple(standard),
                facts=facts,
            )
            for stem, facts in raw["stems"].items()
        },
    )


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
