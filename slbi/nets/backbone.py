"""What every network of the project is: a spec, widths, and what couples and shapes its layers."""

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from slbi.nets.coupling import Coupling
from slbi.nets.graph.find import Found, find
from slbi.nets.initial import RELU_GAIN, deviation, draw
from slbi.nets.shortcut import Shortcut
from slbi.nets.sketch import Outline, cost
from slbi.nets.widths import Widths


class Backbone(nn.Module, ABC):
    """A network built from `Widths`. Subclasses add the layers, under `torch.device("meta")`.

    Args:
        name: one of `names()`.
        widths: filters of every group, in any order.
        in_channels: channels of an image.
        size: side of an image, px.
        classes: classes told apart.

    Raises:
        ValueError: an unsuitable size, other groups than those of the name, a number below 1.
    """

    classifier: nn.Conv2d | nn.Linear
    stem: ClassVar[str] = "standard"
    """Which stem it has: the published one, or "small", for small images."""

    def __init__(
        self, name: str, widths: Widths, *, in_channels: int, size: int, classes: int
    ) -> None:
        super().__init__()
        self.check_size(name, size)
        groups = tuple(self.standard_widths(name))
        if set(widths) != set(groups):
            raise ValueError(
                f"widths of {name} must name the groups {', '.join(groups)}, "
                f"got {', '.join(widths) or 'none'}"
            )
        for what, number in (("in_channels", in_channels), ("classes", classes)):
            if number < 1:
                raise ValueError(f"{what} must be >= 1, got {number}")
        self.name = name
        self.widths = Widths({group: widths[group] for group in groups})
        self.in_channels = in_channels
        self.size = size
        self.classes = classes

    @classmethod
    @abstractmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the networks of this family."""

    @classmethod
    @abstractmethod
    def standard_widths(cls, name: str) -> Widths:
        """Return the widths of the published network, in the order of the data."""

    @classmethod
    @abstractmethod
    def check_size(cls, name: str, size: int) -> None:
        """Do nothing, or raise a ValueError that says why images of side `size` do not suit."""

    @classmethod
    def group_of(cls, module: str) -> str:
        """Return what the group is called whose filters a module is the first to make."""
        return module

    def found(self) -> Found:
        """Return which tensors share a filter axis, and its widths.

        It is found by tracing, once for all widths: an axis of one filter says little.
        """
        kind = (type(self), self.name, self.in_channels, self.size, self.classes)
        return _found(kind, self.widths)

    def adopt(self, found: Found) -> None:
        """Take note of the filters that surgery has left it, in place."""
        self.widths = self.widths.replaced(found.widths)

    def coupling(self) -> Coupling:
        """Return which tensors share a filter axis."""
        return self.found().coupling

    @abstractmethod
    def outline(self) -> Outline:
        """Return what its layers cost, at any widths and at least at its own size."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return (N, classes) logits of (N, in_channels, size, size) images."""

    def cost(self, widths: Widths | None = None) -> tuple[int, int]:
        """Return parameters and multiply-accumulates of one image, at its own or other widths."""
        return cost(
            self.outline(),
            self.widths if widths is None else widths,
            in_channels=self.in_channels,
            size=self.size,
            classes=self.classes,
        )

    @classmethod
    def built(
        cls,
        name: str,
        widths: Widths,
        *,
        in_channels: int,
        size: int,
        classes: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> Self:
        """Return the network with its memory still unset; on the meta device it has none."""
        # On meta first: torch's own layers would draw initial values from the global generator.
        with torch.device("meta"):
            net = cls(name, widths, in_channels=in_channels, size=size, classes=classes)
        net = net.to(dtype=dtype)
        return net if device.type == "meta" else net.to_empty(device=device)

    def rebuild(self, widths: Widths, *, generator: torch.Generator | None = None) -> Self:
        """Return a fresh network of the same spec, device and dtype with other widths."""
        net = self._unset(widths)
        net.initialise(generator)
        return net

    def hollow(self, widths: Widths) -> Self:
        """Return `rebuild`'s network with every weight zero, norms neutral and no route taken."""
        net = self._unset(widths)
        net.initialise(None, zero=True)
        return net

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, *, zero: bool = False) -> None:
        """Set every parameter and buffer to its initial value, in place.

        Weights are normal with variance gain^2 / fan-in, gain^2 being 2 before a ReLU and 1 in the
        classifier; biases are zero, norms neutral (scale 1, shift 0, mean 0, variance 1).

        Args:
            generator: source of the weights; None is torch's default CPU generator.
            zero: draw nothing; leave all weights zero and let shortcuts carry nothing.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self._initialise_layer(module, generator, zero=zero)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, Shortcut):
                module.reset_parameters()
                if zero:
                    module.source.fill_(-1)

    def _initialise_layer(
        self, layer: nn.Conv2d | nn.Linear, generator: torch.Generator | None, *, zero: bool
    ) -> None:
        weight = layer.weight
        if zero or weight.is_meta:
            weight.zero_()
        else:
            gain = 1.0 if layer is self.classifier else RELU_GAIN
            weight.copy_(draw(tuple(weight.shape), weight, generator))
            weight.mul_(deviation(weight[0].numel(), gain=gain))
        if layer.bias is not None:
            layer.bias.zero_()

    def _unset(self, widths: Widths) -> Self:
        like = self.classifier.weight
        return self.built(
            self.name,
            widths,
            in_channels=self.in_channels,
            size=self.size,
            classes=self.classes,
            device=like.device,
            dtype=like.dtype,
        )


_Kind = tuple[type[Backbone], str, int, int, int]
"""Family, name, channels and side of the images, classes."""


@lru_cache(maxsize=64)
def _published(kind: _Kind) -> Found:
    """Return what is found of the published network, the groups called as its family does."""
    family, name, in_channels, size, classes = kind
    widths = family.standard_widths(name)
    with torch.device("meta"):
        net = family(name, widths, in_channels=in_channels, size=size, classes=classes)
    found = find(net, (in_channels, size, size))
    return found.called({group: family.group_of(group) for group in found.widths}, tuple(widths))


@lru_cache(maxsize=256)
def _found(kind: _Kind, widths: Widths) -> Found:
    return _published(kind).resized(widths)
