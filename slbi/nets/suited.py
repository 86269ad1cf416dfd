"""What suits a network to the device that it trains on."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from slbi.nets.norms import narrow_norms
from slbi.nets.strided import sliced_convolutions


@contextmanager
def suited(net: nn.Module) -> Iterator[None]:
    """Lend a network, while it trains, what is faster or sounder on its device than its own.

    It computes the same to rounding; its layers and tensors are its own again behind that.
    """
    with narrow_norms(net), sliced_convolutions(net):
        yield
