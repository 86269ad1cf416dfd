"""The network on its support: every coupled weight as Gamma would have it, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from slbi.optim.optimizer import SLBI
from slbi.optim.shrink import Structure
from slbi.structure.support import w_star


@contextmanager
def on_support(optimizer: SLBI, structure: Structure | None = None) -> Iterator[None]:
    """Let every weight that has a twin be W on its support; at the end each is what it was.

    Biases and norms stay as they are: a filter outside of the support still emits what they make of
    zero.

    Args:
        optimizer: drives the network; it must not step meanwhile.
        structure: of the twins that count, the weights of others stay as they are; None: of all.

    Source: docs/method.md, "Support".
    """
    weights: dict[Tensor, Tensor] = {}
    for group in optimizer.param_groups:
        if group["structure"] is not None and structure in {None, group["structure"]}:
            for weight in group["params"]:
                weights[weight] = w_star(weight, optimizer.gamma(weight), group["structure"])
    _exchange(weights)
    try:
        yield
    finally:
        _exchange(weights)


@torch.no_grad()
def _exchange(weights: dict[Tensor, Tensor]) -> None:
    """Swap every weight's values with those beside it, in place."""
    for weight, other in weights.items():
        before = weight.detach().clone()
        weight.copy_(other)
        weights[weight] = before
