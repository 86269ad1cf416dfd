"""Layers that are lent to a network: they compute with its tensors in the place of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from torch import nn

_HOOKS: Final = ("_forward_hooks", "_backward_hooks", "ward_pre_hooks")
"""How the attributes end in which torch keeps who listens to a module."""

_TENSORS: Final = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
"""What layers share, those of them that they have."""


def hooked(module: nn.Module) -> bool:
    """Return whether somebody listens to a module; in its place nobody would hear a substitute."""
    return any(each for name, each in vars(module).items() if name.endswith(_HOOKS))


@contextmanager
def replaced(net: nn.Module, substitute: Callable[[nn.Module], nn.Module | None]) -> Iterator[None]:
    """Put other layers in the place of some of a network's own, which share their tensors.

    Args:
        net: the network; a layer that it has in two places is replaced in both.
        substitute: makes a layer of the same shape on "meta", or None to leave one.
    """
    places = [
        (parent, name, child, made)
        for parent in net.modules()
        for name, child in parent.named_children()
        if (made := substitute(child)) is not None
    ]
    for parent, name, child, made in places:
        for tensor in _TENSORS:
            if hasattr(child, tensor):
                setattr(made, tensor, getattr(child, tensor))
        setattr(parent, name, made.train(child.training))
    try:
        yield
    finally:
        for parent, name, child, made in places:
            child.train(made.training)
            setattr(parent, name, child)
