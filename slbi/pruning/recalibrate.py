"""Estimate the statistics of BatchNorm anew, for a network whose filters have changed."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def recalibrate(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set every running mean and variance to their mean over some batches, in place.

    Nothing else changes: weights, the momentum of the norms and the training flags stay.

    Args:
        net: the network.
        batches: images as the network takes them; each counts alike.

    Raises:
        ValueError: there is no batch.
    """
    images = iter(batches)
    first = next(images, None)
    if first is None:
        raise ValueError("batches must hold at least one batch, got none")
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    norms = [module for module in net.modules() if isinstance(module, kinds)]
    if not norms:
        return
    before = [(norm, norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's sign for the plain mean over all batches.
        norm.train()
    try:
        net(first)
        for batch in images:
            net(batch)
    finally:
        for norm, momentum, training in before:
            norm.momentum = momentum
            norm.train(training)
