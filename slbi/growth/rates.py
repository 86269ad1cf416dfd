"""A learning rate of their own for new filters: their gradients are scaled while it lasts."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from slbi.growth.seed import new_entries
from slbi.nets.coupling import Tie
from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import known
from slbi.nets.widths import Widths


@contextmanager
def new_rate(
    net: nn.Module, before: Widths, factor: float, *, found: Found | None = None
) -> Iterator[None]:
    """Let new filters learn at `factor` times the learning rate over the steps taken inside.

    Scaled are the gradients of all that belongs to a new filter: its rows in producers, its norm,
    its columns in readers; an entry of two new filters once. What does not come from a gradient,
    weight decay and the pull of a twin, is not scaled. Velocities go on as they are, so the first
    steps behind still feel the factor.

    Args:
        net: the widened network; its parameters must stay the same tensors inside.
        before: its widths before; filters beyond them are new.
        factor: 1 changes nothing, bit for bit.
        found: of `net`; None for a backbone, which knows itself.

    Raises:
        ValueError: `factor` is not above 0.

    Source: docs/method.md, "Growth".
    """
    if not factor > 0:
        raise ValueError(f"factor must be > 0, got {factor}")
    whole = known(net, found)
    ties = whole.coupling.by_tensor()
    handles = []
    for name, parameter in net.named_parameters():
        chosen = _new(parameter, ties.get(name, []), before, whole.widths)
        if factor != 1 and parameter.requires_grad and chosen.any():
            scale = torch.ones(chosen.shape).masked_fill_(chosen, factor).to(parameter)
            handles.append(parameter.register_hook(scale.mul))  # type: ignore[no-untyped-call] # torch's own
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _new(
    parameter: Parameter, ties: Iterable[tuple[str, Tie]], before: Widths, after: Widths
) -> Tensor:
    """Return which entries are of a new filter: bool, of length 1 along axes that no group has."""
    listed = list(ties)
    chosen = torch.zeros((1,) * parameter.ndim, dtype=torch.bool)
    for axis in {tie.axis for _, tie in listed}:
        along = torch.zeros(parameter.shape[axis], dtype=torch.bool)
        along[new_entries(listed, axis, before, after)] = True
        shape = [1] * parameter.ndim
        shape[axis] = len(along)
        chosen = chosen | along.view(shape)
    return chosen
