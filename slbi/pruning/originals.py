"""Set parts of parameters to zero, and give back what was there, once."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class _Original:
    """A parameter before its first part went, and what of it is left."""

    value: Tensor
    kept: Tensor
    """bool, can be broadcast over `value`."""

    def left(self) -> Tensor:
        """Return the parameter as zeroing left it."""
        return torch.where(self.kept, self.value, 0)

    def stands(self, parameter: Tensor) -> bool:
        """Return whether the parameter still is as zeroing left it, NaN included."""
        left = self.left().to(parameter)
        return torch.allclose(parameter, left, rtol=0, atol=0, equal_nan=True)


class Originals:
    """What parameters were before parts of them were set to zero; works on any module.

    Zeroing twice keeps the first values. Values that training or a load has put in meanwhile count
    as new: they become the originals of the next zeroing, and `recover` does not touch them.
    """

    def __init__(self) -> None:
        self._originals: dict[str, _Original] = {}

    @torch.no_grad()
    def zero_outside(self, parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
        """Set to zero what is not kept, in place in the parameters.

        Args:
            parameters: by name, as `dict(net.named_parameters())`.
            masks: name -> bool, True is kept; can be broadcast over the parameter.

        Raises:
            ValueError: a mask is of no parameter, or not bool; nothing is then changed.

        Source: docs/method.md, "Recover".
        """
        for name, mask in masks.items():
            if name not in parameters:
                raise ValueError(f"name must be one of {', '.join(parameters)}, got {name!r}")
            if mask.dtype != torch.bool:
                raise ValueError(f"mask of {name!r} must be bool, got {mask.dtype}")
        for name, mask in masks.items():
            parameter = parameters[name]
            old = self._originals.get(name)
            if old is None or not old.stands(parameter):
                old = _Original(parameter.detach().clone(), torch.ones_like(mask))
            zeroed = _Original(old.value, old.kept.to(mask.device) & mask)
            self._originals[name] = zeroed
            parameter.copy_(zeroed.left())

    @torch.no_grad()
    def recover(self, parameters: Mapping[str, Tensor]) -> None:
        """Give back the originals, in place in the parameters, and forget them.

        A parameter that training or a load has changed since keeps its values.

        Raises:
            ValueError: a parameter with originals is missing; nothing is then changed.

        Source: docs/method.md, "Recover".
        """
        missing = [name for name in self._originals if name not in parameters]
        if missing:
            raise ValueError(f"parameters must hold {missing[0]!r}, got {', '.join(parameters)}")
        for name, original in self._originals.items():
            if original.stands(parameters[name]):
                parameters[name].copy_(original.value)
        self.forget()

    def forget(self) -> None:
        """Forget the originals, in place; the parameters stay as they are."""
        self._originals = {}
