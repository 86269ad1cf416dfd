"""Keep what a mask has pruned at zero while the rest of a network learns."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Hold:
    """Sets what masks leave out to zero, again and again.

    Args:
        net: the network.
        masks: parameter name -> bool, of a shape that broadcasts to the parameter's: True is free.

    Raises:
        ValueError: no parameter of that name, or a mask that is not bool or does not broadcast.

    Source: docs/method.md, "Prune".
    """

    def __init__(self, net: nn.Module, masks: Mapping[str, Tensor]) -> None:
        known = dict(net.named_parameters())
        self._held: list[tuple[Tensor, Tensor]] = []
        for name, mask in masks.items():
            if name not in known:
                raise ValueError(f"a mask must be of a parameter of the network, got {name!r}")
            parameter = known[name]
            _check(name, mask, parameter)
            self._held.append((parameter, ~mask.to(parameter.device)))

    @torch.no_grad()
    def apply(self) -> None:
        """Set every masked entry to zero, in place."""
        for parameter, pruned in self._held:
            parameter.masked_fill_(pruned, 0.0)


def _check(name: str, mask: Tensor, parameter: Tensor) -> None:
    fits = mask.dtype == torch.bool and mask.ndim == parameter.ndim
    fits = fits and all(
        ours in {1, theirs} for ours, theirs in zip(mask.shape, parameter.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"mask of {name!r} must be bool and broadcast to {tuple(parameter.shape)}, "
            f"got {mask.dtype} of shape {tuple(mask.shape)}"
        )
