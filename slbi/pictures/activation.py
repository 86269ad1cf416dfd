"""What a filter looks for: the image that raises its activation most (activation maximisation)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slbi.pictures.layers import find_module
from slbi.pictures.probe import PEAK, Probe

STEPS = 150
LEARNING_RATE = 10.0
"""Steps of Adam and their length, in the scale of `PEAK`. Source: docs/pictures.md."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Maximised:
    """What was found for some filters (F) of one layer. On the CPU."""

    filters: tuple[int, ...]
    """Which filters of the layer."""
    images: Tensor
    """(F, C, H, W). Pixels, 0 black to 255 white; the best image on the way."""
    bounded: bool
    """Whether the pixels were kept within black and white; else they go far beyond."""
    activations: Tensor
    """(F,). Mean over its map of ReLU of the filter's output, at `images`; 0 or more."""
    initial: Tensor
    """(F,). The same at the random image from which all filters started."""

    @property
    def pictures(self) -> Tensor:
        """Return the images to be looked at, (F, C, H, W) in [0, 1].

        Unbounded ones are scaled one by one: the mean becomes the middle grey, two deviations from
        it black and white. A single extreme pixel would decide about any wider scale.
        """
        if self.bounded:
            return self.images / PEAK
        deviation, mean = torch.std_mean(self.images, dim=(1, 2, 3), correction=0, keepdim=True)
        flat = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
        return ((self.images - mean) / (4 * flat) + 0.5).clamp(0, 1)

    @property
    def dead(self) -> Tensor:
        """Return which filters no image on the way made respond at all, (F,) bool."""
        return self.activations == 0

    @property
    def constant(self) -> Tensor:
        """Return which filters answer every image alike, above 0, (F,) bool: masked ones do."""
        return (self.activations == self.initial) & ~self.dead


def maximise(
    net: nn.Module,
    layer: str,
    *,
    shape: tuple[int, int, int],
    mean: Sequence[float],
    deviation: Sequence[float],
    generator: torch.Generator,
    filters: Sequence[int] | None = None,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
    bounded: bool = False,
    chunk: int = 64,
) -> Maximised:
    """Return, for each filter of a layer, an image that raises its mean ReLU output.

    **Scale.** What moves is the image in pixels, 0 black to 255 white, and the network is fed
    (pixel / 255 - mean) / deviation. Adam moves every pixel by about `learning_rate` a step,
    whatever the size of the gradient, so a step is as long to the eye in every channel, on every
    data set and in the reference; the same number in normalised units would leap beyond white.

    **Silence.** Where a filter's map is below zero throughout, the ReLU has no slope. Its output
    before the ReLU is raised instead until it responds. What even then never does is dead.

    The network is copied, not touched: it may be in training, frozen or in use. All filters start
    at one random image, so a picture depends on neither the chunk nor the other filters (but for
    rounding), and on a CPU the same seed gives the same bits.

    Args:
        net: any network of (N, C, H, W) images.
        layer: name of a module inside of it, which is called in the forward pass; its first call
            counts. The output has its filters in axis 1, a linear layer's in the last one. To see
            what the next layer is given, name the norm behind a convolution.
        shape: C, H, W of an image.
        mean: of each channel, in units of white (pixel / 255).
        deviation: of each channel, in the same unit, above 0.
        generator: draws the random image, uniform over the pixels.
        filters: which ones, in the order wanted; None is all.
        steps: of Adam, 1 or more.
        learning_rate: of Adam, pixels, above 0.
        bounded: keep pixels within black and white, as in an image that there could be. The
            reference does not: contrast then grows with every step, and with it the activation.
            That shows more of deep layers, whose bounded images are nearly black and white alone.
        chunk: filters at once, which bounds the memory.

    Raises:
        ValueError: there is no such layer, filter or channel, the layer is not called or gives no
            tensor of filters, or a number is out of its range.
    """
    _check(shape, mean, deviation, steps=steps, learning_rate=learning_rate, chunk=chunk)
    find_module(net, layer)
    with torch.inference_mode(mode=False), torch.enable_grad():
        probe = Probe(net, layer, mean, deviation)
        drawn = torch.rand(shape, generator=generator, device=generator.device)
        start = (PEAK * drawn).to(probe.device, probe.dtype)
        count = probe.count(start)
        wanted = tuple(range(count)) if filters is None else tuple(filters)
        _check_filters(layer, wanted, count)
        ascents = [
            _ascend(probe, start, part, steps=steps, rate=learning_rate, bounded=bounded)
            for part in _chunks(wanted, chunk)
        ]
    images, activations, initial = (
        torch.cat([ascent[index] for ascent in ascents]).cpu() for index in range(3)
    )
    return Maximised(
        filters=wanted, images=images, bounded=bounded, activations=activations, initial=initial
    )


def _ascend(
    probe: Probe,
    start: Tensor,
    filters: Sequence[int],
    *,
    steps: int,
    rate: float,
    bounded: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best images, (F, C, H, W), their activations and those of the start, (F,)."""
    pixels = start.repeat(len(filters), 1, 1, 1).requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=rate, maximize=True)
    own = (
        torch.arange(len(filters), device=start.device),
        torch.tensor(filters, device=start.device),
    )
    best_images = pixels.detach().clone()
    best = torch.zeros(len(filters), dtype=start.dtype, device=start.device)
    initial = best
    for step in range(steps + 1):
        maps = probe.maps(pixels)[own]  # (F, positions): of each image, its own filter's
        activations = maps.detach().relu().mean(dim=1)
        better = activations > best
        best = torch.where(better, activations, best)
        best_images[better] = pixels.detach()[better]
        if step == 0:
            initial = best
        if step == steps:
            break
        # The sum of the map, not its mean: Adam does not mind the factor, but on a large map the
        # slope of the mean falls to the size of its epsilon.
        raised = torch.where(activations > 0, maps.relu().sum(dim=1), maps.sum(dim=1))
        (pixels.grad,) = torch.autograd.grad(raised.sum(), [pixels], materialize_grads=True)
        optimizer.step()
        if bounded:
            pixels.detach().clamp_(0, PEAK)
    return best_images, best, initial


def _chunks(filters: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (filters[begin : begin + size] for begin in range(0, len(filters), size))


def _check(
    shape: tuple[int, int, int],
    mean: Sequence[float],
    deviation: Sequence[float],
    *,
    steps: int,
    learning_rate: float,
    chunk: int,
) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape must be (C, H, W), each 1 or more, got {tuple(shape)}")
    for name, values in (("mean", mean), ("deviation", deviation)):
        if len(values) != shape[0]:
            raise ValueError(f"{name} must have {shape[0]} channels, got {len(values)}")
    if not all(value > 0 for value in deviation):
        raise ValueError(f"deviation must be > 0, got {tuple(deviation)}")
    for name, number in (("steps", steps), ("chunk", chunk)):
        if number < 1:
            raise ValueError(f"{name} must be >= 1, got {number}")
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be > 0, got {learning_rate}")


def _check_filters(layer: str, filters: Sequence[int], count: int) -> None:
    if not filters:
        raise ValueError(f"filters of {layer!r} must be one or more, got none")
    for index in filters:
        if not 0 <= index < count:
            raise ValueError(f"filters of {layer!r} must be in 0 to {count - 1}, got {index}")
