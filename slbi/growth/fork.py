"""A fork of a network under training: a copy that another optimizer goes on with."""

import copy
from collections.abc import Callable
from typing import TypeVar

from torch import nn
from torch.optim import Optimizer

NetT = TypeVar("NetT", bound=nn.Module)
OptimizerT = TypeVar("OptimizerT", bound=Optimizer)


def fork(
    net: NetT, optimizer: Optimizer, drive: Callable[[NetT], OptimizerT]
) -> tuple[NetT, OptimizerT]:
    """Return a copy of a network and an optimizer for it that goes on with the velocities.

    The pair given is left as it is and can go on as if there were no fork.

    Args:
        net: the network.
        optimizer: drives it; of its state only velocities, `momentum_buffer`, are carried.
        drive: makes the copy's optimizer, which takes velocities from its state.
    """
    copied = copy.deepcopy(net)
    copied.zero_grad()
    onward = drive(copied)
    for before, after in zip(net.parameters(), copied.parameters(), strict=True):
        velocity = optimizer.state.get(before, {}).get("momentum_buffer")
        if velocity is not None:
            onward.state[after]["momentum_buffer"] = velocity.clone()
    return copied, onward
