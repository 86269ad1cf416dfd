"""The padding shortcut between two stages of a ResNet, as a table of who feeds whom."""

import torch
from torch import Tensor, nn


class Shortcut(nn.Module):
    """Every second pixel of a map, its filters laid onto those of the next stage, zeros elsewhere.

    Source: He et al. 2015, arXiv 1512.03385, option A. There the old filters come first and zeros
    are appended; here the table says it, so that widening and slicing keep every trained path.

    Args:
        reads: filters of the stage before.
        makes: filters of the stage after.
        stride: step between the pixels taken, px.
    """

    source: Tensor
    """(O,) int64: index of the filter that is added at each position, -1 for none."""

    def __init__(self, reads: int, makes: int, *, stride: int) -> None:
        super().__init__()
        self.reads = reads
        self.stride = stride
        self.register_buffer("source", torch.empty(makes, dtype=torch.int64))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Lay filter i onto position i, in place."""
        positions = torch.arange(len(self.source), device=self.source.device)
        self.source.copy_(torch.where(positions < self.reads, positions, -1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, O, H', W') from (N, I, H, W)."""
        fed = (self.source >= 0)[:, None, None]  # (O, 1, 1)
        # Not a scatter into zeros: that needs the number of fed positions on the CPU.
        picked = x[:, :, :: self.stride, :: self.stride].index_select(1, self.source.clamp(min=0))
        return picked * fed
