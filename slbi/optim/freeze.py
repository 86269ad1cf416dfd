"""Hold what is selected where it is while the rest learns."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from slbi.optim.optimizer import SLBI
from slbi.optim.shrink import spread


@contextmanager
def frozen(optimizer: SLBI, weights: Iterable[Tensor]) -> Iterator[None]:
    """Let filters in the support keep W and Z over the steps taken inside.

    Their momentum runs on, as in the reference. What is in the support is asked once, on entering.

    Args:
        optimizer: has a twin of each weight.
        weights: those whose filters (columns, entries) are held; all others move.

    Raises:
        ValueError: a weight is not in the optimizer or has no twin.

    Source: docs/method.md, "Freeze".
    """
    held = []
    for weight in weights:
        support = optimizer.support(weight)
        chosen = spread(support, optimizer.structure(weight), weight.ndim)
        # Without a Z yet nothing is in the support.
        moved = [weight, optimizer.state[weight]["z"]] if support.any() else []
        held += [(tensor, chosen, tensor.detach().clone()) for tensor in moved]
    yield
    with torch.no_grad():
        for tensor, chosen, before in held:
            tensor.copy_(torch.where(chosen, before, tensor))
