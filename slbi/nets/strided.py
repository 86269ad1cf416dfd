"""Convolutions of 1 x 1 with a stride, computed on what they read, on a CPU while they train.

oneDNN, which torch computes with there, writes past its memory in the gradient of such a weight
where channels lie innermost and few are read: wrong gradients, or a process that dies. Source:
oneDNN's issue 6035; docs/decisions/0049.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from torch import Tensor, nn
from torch.nn.functional import conv2d

from slbi.nets.lent import hooked, replaced

FEW: Final = 16
"""Channels that are read, below which the gradient is wrong: those of a block, with AVX-512."""


class SlicedConv(nn.Conv2d):
    """A 1 x 1 convolution that first takes the pixels which its stride leaves."""

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, O, H', W') of (N, I, H, W), as the convolution would."""
        down, across = self.stride
        return conv2d(images[..., ::down, ::across], self.weight, self.bias)


@contextmanager
def sliced_convolutions(net: nn.Module) -> Iterator[None]:
    """Put `SlicedConv` in the place of a network's 1 x 1 convolutions with a stride, on a CPU."""
    with replaced(net, _sliced):
        yield


def _sliced(layer: nn.Module) -> SlicedConv | None:
    """Return a substitute for a convolution that is torch's own, on a CPU and not hooked."""
    if type(layer) is not nn.Conv2d or layer.kernel_size != (1, 1) or layer.stride == (1, 1):
        return None
    plain = layer.groups == 1 and layer.padding == (0, 0) and layer.in_channels < FEW
    if not (plain and layer.weight.device.type == "cpu") or hooked(layer):
        return None
    return SlicedConv(
        layer.in_channels,
        layer.out_channels,
        1,
        stride=(layer.stride[0], layer.stride[1]),
        bias=layer.bias is not None,
        device="meta",
    )
