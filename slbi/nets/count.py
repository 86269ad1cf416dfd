"""What any network costs, counted by torch on shapes alone."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from slbi.nets.graph.trace import without_data


@torch.no_grad()
def count(net: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return parameters, and multiply-accumulates of one input in evaluation.

    Additions, norms and pools are not counted as multiply-accumulates.

    Args:
        net: any network, with or without data; left as it is.
        shape: of one input, without the batch, e.g. (3, 32, 32).
    """
    hollow = without_data(net).eval()
    like = next(hollow.parameters())
    with FlopCounterMode(display=False) as counter:
        hollow(torch.empty(1, *shape, device="meta", dtype=like.dtype))
    params = sum(parameter.numel() for parameter in hollow.parameters())
    return params, counter.get_total_flops() // 2
