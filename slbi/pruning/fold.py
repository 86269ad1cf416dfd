"""What a removed filter still emits, a constant, taken up by those that read it."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from slbi.nets.coupling import Coupling
from slbi.nets.shortcut import Shortcut

_ROUNDING = 1e-9
"""Share of a constant by which the pixels of a map may differ and still differ by rounding alone.
The constants are found in float64, whose own rounding is 1e-16 an operation."""


@dataclass(frozen=True, slots=True)
class Constant:
    """What the removed filters of a group add to the output of one reader."""

    group: str
    absorber: str | None
    """The tensor that can take it up."""
    level: Tensor
    """(O,), the mean over the map."""
    even: bool
    """Whether it is the same on every pixel of the map, and for certain."""

    @property
    def exact(self) -> bool:
        """Whether taking it up changes nothing."""
        return self.even and (self.absorber is not None or not self.level.any())


@dataclass(frozen=True, slots=True)
class _Reader:
    """A module that is fed filters of a group."""

    module: str
    group: str
    offset: int
    block: int
    absorber: str | None


@torch.no_grad()
def constants(
    whole: nn.Module, coupling: Coupling, positions: Mapping[str, Tensor], image: Tensor
) -> Iterator[Constant]:
    """Yield what removed filters add to each reader of a masked network.

    A removed filter does not depend on the image, so one blank image, in float64, shows what it
    feeds to every reader, through any chain of norms, residual sums and pools.

    Args:
        whole: the masked network.
        coupling: of it.
        positions: group -> (O,) bool, the filters that stay.
        image: one, of the shape that the network takes; its values do not matter.
    """
    probe = copy.deepcopy(whole).double().eval()
    readers = [reader for reader in _readers(coupling) if not positions[reader.group].all()]
    fed = _inputs(probe, readers, torch.zeros_like(image, dtype=torch.float64))
    for reader in readers:
        module = probe.get_submodule(reader.module)
        # A head that works in training only is fed nothing.
        for x in fed.get(module, []):
            yield _constant(
                reader, module, x, ~positions[reader.group], known=len(fed[module]) == 1
            )


@torch.no_grad()
def absorb(whole: nn.Module, found: Iterable[Constant]) -> None:
    """Add every constant to what takes it up, in place in `whole`."""
    state = whole.state_dict()
    for constant in found:
        if constant.absorber is not None:
            absorber = state[constant.absorber]
            # The norm subtracts its running mean.
            sign = -1.0 if constant.absorber.endswith(".running_mean") else 1.0
            absorber += sign * constant.level.to(absorber.dtype)


def _readers(coupling: Coupling) -> list[_Reader]:
    """Return everything that is fed filters: reading layers, and routes into another stream."""
    readers = [
        _Reader(tie.tensor.rpartition(".")[0], group.name, tie.offset, tie.block, tie.absorber)
        for group in coupling.groups
        for tie in group.ties
        if tie.role == "reader"
    ]
    routes = [
        _Reader(route.buffer.rpartition(".")[0], route.source, 0, 1, route.absorber)
        for route in coupling.routes
    ]
    return readers + routes


def _inputs(
    probe: nn.Module, readers: list[_Reader], image: Tensor
) -> dict[nn.Module, list[Tensor]]:
    """Return what one image feeds to each reader, call by call."""
    fed: dict[nn.Module, list[Tensor]] = {}

    def remember(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        fed.setdefault(module, []).append(inputs[0])

    modules = {probe.get_submodule(reader.module) for reader in readers}
    hooks = [module.register_forward_pre_hook(remember) for module in modules]
    probe(image)
    for hook in hooks:
        hook.remove()
    return fed


def _constant(
    reader: _Reader, module: nn.Module, x: Tensor, removed: Tensor, *, known: bool
) -> Constant:
    """Return what removed filters add to a reader that is fed x; `known` if it is called once."""
    axis = x.ndim - 1 if isinstance(module, nn.Linear) else 1
    entries = torch.zeros(x.shape[axis], dtype=torch.bool, device=x.device)
    gone = removed.repeat_interleave(reader.block).to(x.device)
    entries[reader.offset : reader.offset + len(gone)] = gone
    alone = x * entries.view([-1 if other == axis else 1 for other in range(x.ndim)])
    added = (module(alone) - module(torch.zeros_like(x))).movedim(axis, 0)
    added = added.reshape(len(added), -1)  # (O, all pixels)
    level = added.mean(dim=1)
    spread = (added - level[:, None]).abs().max()
    even = bool(spread <= _ROUNDING * added.abs().max())
    plain = isinstance(module, nn.Linear | _ConvNd | Shortcut)
    if known and plain:
        return Constant(reader.group, reader.absorber, level, even)
    return Constant(reader.group, None, level, even and not level.any())
