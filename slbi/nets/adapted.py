"""A network of another library as a backbone: its coupling is found, not declared."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from slbi.nets.backbone import Backbone
from slbi.nets.graph.find import Found, find
from slbi.nets.graph.resize import rebuilt
from slbi.nets.sketch import LayerSketch
from slbi.nets.widths import Widths

_INNER = "net."


class Adapted(Backbone):
    """A network of another library behind a backbone's interface. See `Backbone`.

    Its tensors are named as there, behind "net.".
    """

    def __init__(
        self, name: str, widths: Widths, *, in_channels: int, size: int, classes: int
    ) -> None:
        super().__init__(name, widths, in_channels=in_channels, size=size, classes=classes)
        standard, found = _shape(type(self), name, in_channels, size, classes)
        with torch.device("cpu"):  # tables of filters are computed with; the network has no data
            self.net, self._found = rebuilt(standard, found, self.widths)

    @classmethod
    @abstractmethod
    def standard(cls, name: str, *, in_channels: int, size: int, classes: int) -> nn.Module:
        """Return the published network for such images and classes; its weights are not used."""

    @classmethod
    @abstractmethod
    def smallest(cls, name: str) -> int:
        """Return the side of the smallest image that the network takes, px."""

    @classmethod
    def check_size(cls, name: str, size: int) -> None:
        """Refuse sizes at which nothing is left of the map."""
        if size < cls.smallest(name):
            raise ValueError(f"size must be >= {cls.smallest(name)} px for {name}, got {size}")

    @classmethod
    def standard_widths(cls, name: str) -> Widths:
        """Return the published widths, by the names that tracing gives the groups."""
        _, found = _shape(cls, name, 3, cls.smallest(name), 1000)
        return found.widths

    @property
    def classifier(self) -> nn.Linear:  # type: ignore[override]  # there it is set once
        """Return the layer that tells the classes apart: the last one."""
        layers = [module for module in self.net.modules() if isinstance(module, nn.Linear)]
        return layers[-1]

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, *, zero: bool = False) -> None:
        """Set every parameter and buffer to its initial value, in place, as `Backbone` does.

        Raises:
            ValueError: a layer holds parameters for which no initial value is known.
        """
        known = nn.Conv2d | nn.Linear | nn.BatchNorm2d
        for name, module in self.named_modules():
            own = [*module.parameters(recurse=False)]
            if own and not isinstance(module, known):
                raise ValueError(
                    f"layers with weights must be convolutions, linear layers or BatchNorm, "
                    f"{name!r} is a {type(module).__name__}"
                )
        super().initialise(generator, zero=zero)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, classes) logits."""
        logits: Tensor = self.net(x)
        return logits

    def found(self) -> Found:
        """Return which tensors share a filter axis, and its widths."""
        return Found(coupling=self._found.coupling.below(_INNER), widths=self._found.widths)

    def adopt(self, found: Found) -> None:
        """Take note of the filters that surgery has left it, in place."""
        super().adopt(found)
        self._found = self._found.resized(found.widths)

    def sketch(self) -> tuple[LayerSketch, ...]:
        """Return the outline of every layer, for images of its own size alone."""
        return self.outline(
            self.name, [self.size], in_channels=self.in_channels, classes=self.classes
        )

    @classmethod
    def outline(
        cls, name: str, sizes: Sequence[int], *, in_channels: int, classes: int
    ) -> tuple[LayerSketch, ...]:
        """Return the outline of every layer, for images of some sizes, px.

        What a layer reads of each filter must not depend on the size, as behind an adaptive pool.
        """
        sketch = _sketch(cls, name, in_channels, cls.smallest(name), classes)
        sides = {size: _map_sides(cls, name, in_channels, size, classes) for size in sizes}
        return tuple(
            replace(layer, sides={size: sides[size][layer.name] for size in sizes})
            for layer in sketch
        )

    def cost(self, widths: Widths | None = None) -> tuple[int, int]:
        """Return parameters and multiply-accumulates of one image, at its own or other widths."""
        asked = self.widths if widths is None else widths
        ordered = Widths({group: asked[group] for group in self.widths})
        kind = (type(self), self.name, self.in_channels, self.size, self.classes)
        return _cost(kind, ordered)


_Kind = tuple[type[Adapted], str, int, int, int]
"""Family, name, channels and side of the images, classes."""


@lru_cache(maxsize=64)
def _shape(
    family: type[Adapted], name: str, in_channels: int, size: int, classes: int
) -> tuple[nn.Module, Found]:
    """Return the published network without data, and what was found of it."""
    with torch.device("meta"):
        net = family.standard(name, in_channels=in_channels, size=size, classes=classes)
    found = find(net, (in_channels, size, size))
    if found.coupling.routes:
        raise ValueError(f"{name} must carry its filters without tables of indices")
    return net, found


@lru_cache(maxsize=64)
def _sketch(
    family: type[Adapted], name: str, in_channels: int, size: int, classes: int
) -> tuple[LayerSketch, ...]:
    """Return the outline of every layer but for the sides of its map."""
    standard, found = _shape(family, name, in_channels, size, classes)
    axes = found.coupling.by_axis()
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in standard.modules())
    sketches = []
    for layer, module in _layers(standard):
        conv = isinstance(module, nn.Conv2d)
        made = axes.get((f"{layer}.weight", 0), [])
        read = axes.get((f"{layer}.weight", 1), [])
        sketches.append(
            LayerSketch(
                name=f"{_INNER}{layer}",
                kind="conv" if conv else "linear",
                reads=read[0][0] if read else None,
                makes=made[0][0] if made else None,
                kernel=module.kernel_size[0] if isinstance(module, nn.Conv2d) else 1,
                bias=module.bias is not None,
                norm=conv and norms > 0,
                shrinks="",
                block=read[0][1].block if read else 1,
            )
        )
    return tuple(sketches)


@lru_cache(maxsize=256)
def _map_sides(
    family: type[Adapted], name: str, in_channels: int, size: int, classes: int
) -> Mapping[str, int]:
    """Return layer -> side of its map, px, by a pass through the network without data."""
    with torch.device("meta"):
        net = family.standard(name, in_channels=in_channels, size=size, classes=classes).eval()
    sides: dict[str, int] = {}
    for layer, module in _layers(net):
        module.register_forward_hook(partial(_remember_side, sides, f"{_INNER}{layer}"))
    with torch.no_grad():
        net(torch.empty(1, in_channels, size, size, device="meta"))
    return sides


def _layers(net: nn.Module) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            yield name, module


def _remember_side(
    sides: dict[str, int], layer: str, _module: nn.Module, _inputs: object, output: Tensor
) -> None:
    sides[layer] = output.shape[-1] if output.ndim == 4 else 1


@lru_cache(maxsize=4096)
def _cost(kind: _Kind, widths: Widths) -> tuple[int, int]:
    """Count on a network without data, by torch's own counter."""
    standard, found = _shape(*kind)
    _, _, in_channels, size, _ = kind
    net, _ = rebuilt(standard, found, widths)
    net.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(1, in_channels, size, size, device="meta"))
    params = sum(parameter.numel() for parameter in net.parameters())
    return params, counter.get_total_flops() // 2
