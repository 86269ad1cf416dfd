"""What a spec will take: parameters, multiply-accumulates, memory, time. Arithmetic only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from service.catalogue import CHANNELS, CLASSES, Form, Outline

_SHRINKS: Mapping[str, Callable[[int], int]] = {
    "f": lambda side: max(1, side // 2),
    "c": lambda side: (side + 1) // 2,
    "v": lambda side: side - 4,
    "t": lambda _: 28,
    "m": lambda _: 1,
}
"""What one character of `Layer.shrinks` makes of the side of a map. Source: slbi/nets/sketch.py."""

_BYTES = 4  # of a float32
_TENSORS = 5  # weight, gradient, momentum, Z, and one temporary of a step
_MAPS = 4  # output of the layer, of its norm, of its activation, and one gradient


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What one network takes."""

    params: int
    macs: int
    """Multiply-accumulates of one image, forward."""
    activations: int
    """Numbers that all layers put out for one image."""

    def memory_bytes(self, batch: int) -> int:
        """Return a rough size of training in memory, torch itself and the data not counted."""
        return _BYTES * (_TENSORS * self.params + _MAPS * batch * self.activations)


def cost(
    outline: Outline, widths: Mapping[str, int], *, channels: int, size: int, classes: int
) -> Cost:
    """Return what a network of these widths takes for images of side `size`, px."""
    numbers = {**widths, CHANNELS: channels, CLASSES: classes}
    params, macs, activations = outline.beside.get(size, (0, 0, 0))
    params += _at(outline.rest, numbers)
    for layer in outline.layers:
        makes = _at(layer.makes, numbers)
        weights = makes * _at(layer.reads, numbers)
        used = _side(size, layer.shrinks) ** 2 if layer.positions is None else layer.positions[size]
        params += weights
        macs += weights * used
        activations += makes * used
    return Cost(params=params, macs=macs, activations=activations)


def _at(form: Form, numbers: Mapping[str, int]) -> int:
    constant, terms = form
    return constant + sum(numbers[name] * each for name, each in terms)


def training_macs(macs: int, images: int) -> int:
    """Return the multiply-accumulates of training on `images`: forward, and backward twice that."""
    return 3 * macs * images


def rate(measured: Sequence[tuple[int, float]]) -> float | None:
    """Return the median speed of recorded epochs, multiply-accumulates a second.

    Args:
        measured: training multiply-accumulates and seconds, above 0, of one epoch each.
    """
    return median(macs / seconds for macs, seconds in measured) if measured else None


def _side(size: int, shrinks: str) -> int:
    for shrink in shrinks:
        size = _SHRINKS[shrink](size)
    return size
