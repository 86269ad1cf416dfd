"""What a network does with one image, found by a pass without data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass(kw_only=True)
class Pass:
    """One forward pass."""

    positions: dict[str, int] = field(default_factory=dict)
    """Parameter -> how often each of its entries is multiplied."""
    macs: int = 0
    """Multiply-accumulates without a parameter, as of attention."""
    activations: int = 0
    """Numbers that these put out."""
    called: set[str] = field(default_factory=set)
    """Convolutions and linear layers that were called as modules."""


_SHAPELESS = (
    nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.Dropout,
    nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Hardswish, nn.Hardsigmoid, nn.Tanh,
)  # fmt: skip


def measure(net: nn.Module, shape: tuple[int, ...]) -> Pass:
    """Return what one image makes of a network, in evaluation.

    Args:
        net: on the meta device; it is left in evaluation.
        shape: of the image, e.g. C, H, W.

    Raises:
        ValueError: not every entry of a parameter is multiplied equally often.
    """
    names = {_storage(parameter): (name, parameter) for name, parameter in net.named_parameters()}
    found = Pass()
    hooks = [
        module.register_forward_pre_hook(_noting(found.called, name))
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad(), _Counting(names, found):
        net.eval()(torch.empty(1, *shape, device="meta"))
    for hook in hooks:
        hook.remove()
    return found


def strip(net: nn.Module) -> None:
    """Take out, in place, what changes neither shapes nor counts: half of the time of a pass."""
    for module in [*net.modules()]:
        for name, child in module.named_children():
            if isinstance(child, _SHAPELESS):
                setattr(module, name, nn.Identity())


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's class has no types
    """Counts as torch's own counter does, by the parameter that is multiplied with."""

    def __init__(self, names: Mapping[int, tuple[str, Tensor]], found: Pass) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self._names = names
        self._found = found

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 -- an operation of torch
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 -- whatever the operation returns
        given = kwargs or {}
        out = func(*args, **given)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self._add(formula(*args, **given, out_val=out) // 2, args, out)
        return out

    def _add(self, macs: int, args: tuple[Any, ...], out: object) -> None:
        found = self._found
        known = [self._names[key] for key in map(_storage, args) if key in self._names]
        if not known:
            found.macs += macs
            found.activations += sum(part.numel() for part in _tensors(out))
            return
        # A bias is added, not multiplied with.
        name, weight = max(known, key=lambda named: named[1].ndim)
        times, left = divmod(macs, weight.numel())
        if left:
            raise ValueError(f"every entry of {name!r} must be used equally often")
        found.positions[name] = found.positions.get(name, 0) + times


def _tensors(out: object) -> list[Tensor]:
    parts = out if isinstance(out, tuple | list) else [out]
    return [part for part in parts if isinstance(part, Tensor)]


def _storage(value: object) -> int:
    """Return what a tensor shares with its views, and nothing else; 0 for any other value."""
    if not isinstance(value, Tensor):
        return 0
    return int(value.untyped_storage()._cdata)  # noqa: SLF001 -- without data there is no address


def _noting(called: set[str], name: str) -> Callable[..., None]:
    def note(module: nn.Module, inputs: object) -> None:  # noqa: ARG001 -- torch's signature
        called.add(name)

    return note
