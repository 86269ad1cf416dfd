"""What one layer of a network answers to an image, without touching the network."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from slbi.pictures.layers import find_module

PEAK = 255
"""White, in the scale of the pixels. Source: docs/pictures.md, "What a filter looks for"."""


class _Reached(BaseException):
    """The forward pass has come to the layer asked for; what follows need not be computed."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output


class Probe:
    """A frozen copy of a network, in evaluation, that tells what one layer answers to pixels."""

    def __init__(
        self, net: nn.Module, layer: str, mean: Sequence[float], deviation: Sequence[float]
    ) -> None:
        self._net = deepcopy(net).eval().requires_grad_(requires_grad=False)
        self._layer = layer
        self._module = find_module(self._net, layer)
        self._module.register_forward_hook(_interrupt)
        like = next((p for p in self._net.parameters() if p.is_floating_point()), torch.empty(0))
        self.device, self._net_dtype = like.device, like.dtype
        self.dtype = torch.promote_types(like.dtype, torch.float32)
        kind = {"dtype": self.dtype, "device": self.device}
        self._mean = torch.tensor(mean, **kind)[:, None, None]  # type: ignore[arg-type]  # one dict for both
        self._deviation = torch.tensor(deviation, **kind)[:, None, None]  # type: ignore[arg-type]

    def maps(self, pixels: Tensor) -> Tensor:
        """Return (N, O, positions), what the layer gives before any ReLU."""
        images = (pixels / PEAK - self._mean) / self._deviation
        try:
            self._net(images.to(self._net_dtype))
        except _Reached as reached:
            output = reached.output
        else:
            raise ValueError(f"layer must be called in the forward pass, {self._layer!r} was not")
        if not isinstance(output, Tensor) or output.ndim < 2:
            told = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"layer must give a tensor (N, O, ...), {self._layer!r} gave {told}")
        if isinstance(self._module, nn.Linear):
            output = output.movedim(-1, 1)
        return output.to(self.dtype).reshape(*output.shape[:2], -1)

    @torch.no_grad()
    def count(self, pixels: Tensor) -> int:
        """Return how many filters the layer has."""
        return self.maps(pixels[None]).shape[1]


def _interrupt(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:  # noqa: ARG001 -- torch's signature
    raise _Reached(output)
