"""Remove filters physically, in every tensor that shares their axis."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from slbi.nets.backbone import Backbone
from slbi.nets.transfer import carried_optimizer, carry_net
from slbi.nets.widths import Widths
from slbi.pruning.keep import settled
from slbi.pruning.mask import masked

AnyOptimizer = TypeVar("AnyOptimizer", bound=Optimizer | None)

_ROUNDING = 1e-9
"""Share of a constant by which the pixels of a map may differ and still differ by rounding alone.
The constants are found in float64, whose own rounding is 1e-16 an operation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sliced(Generic[AnyOptimizer]):
    """What slicing made, and how far it may be trusted."""

    net: Backbone
    optimizer: AnyOptimizer
    kept: Mapping[str, Tensor]
    """Group -> (O,) int64: for every filter left, the index it had. A stream keeps more than was
    asked: every position to which a filter of the stage before is still added."""
    inexact: tuple[str, ...]
    """Groups whose removed filters emitted a constant that a padded reader does not see as one, at
    the borders. BatchNorm must then be recalibrated, see `recalibrate`."""
    rescued: tuple[str, ...]
    """Groups of which nothing would be left; their filter of the largest norm was kept."""

    @property
    def exact(self) -> bool:
        """Whether the network computes in evaluation what the masked one does."""
        return not self.inexact


@dataclass(frozen=True, slots=True)
class _Reader:
    """A module that is fed filters of a group, and the tensor that can take up a constant."""

    module: str
    group: str
    block: int
    absorber: str


@dataclass(frozen=True, slots=True)
class _Constant:
    """What the removed filters of a group add to the output of one reader."""

    reader: _Reader
    level: Tensor
    """(O,), the mean over the map."""
    even: bool
    """Whether it is the same on every pixel of the map."""


def slice_filters(
    net: Backbone, optimizer: AnyOptimizer, keep: Mapping[str, Tensor], *, bias: bool = True
) -> Sliced[AnyOptimizer]:
    """Return the network without the filters that are not kept, and its optimizer.

    In evaluation the result equals the masked network. What a masked filter still emits is a
    constant; each reader takes it up in its bias or in the running mean of the norm behind it.
    That is exact unless the reader pads its map with zeros and the constant is not zero; then the
    mean over the map is taken up and the group is named in `Sliced.inexact`. The pair given is left
    as it is.

    Args:
        net: the network.
        optimizer: drives parameters of `net`, or None. Its state travels with the filters.
        keep: group -> (O,) bool; a group that is not named is kept whole.
        bias: a removed filter's own bias goes with it; else what it makes of zero is taken up too.

    Raises:
        ValueError: an unknown group, a mask that is not (O,) bool, or a parameter of the optimizer
            that is not the network's.

    Source: docs/method.md, "Slice".
    """
    stays = settled(net, keep)
    whole = masked(net, keep, bias=bias)
    constants = list(_constants(whole, stays.positions))
    _absorb(whole, constants)
    kept = {group: position.nonzero().flatten() for group, position in stays.positions.items()}
    narrow = net.hollow(Widths({group: len(indices) for group, indices in kept.items()}))
    carry_net(whole, narrow, kept)
    carried = optimizer
    if optimizer is not None:
        carried = carried_optimizer(optimizer, net, narrow, kept)
    uneven = {constant.reader.group for constant in constants if not constant.even}
    return Sliced(
        net=narrow,
        optimizer=carried,
        kept=kept,
        inexact=tuple(group for group in net.widths if group in uneven),
        rescued=stays.rescued,
    )


@torch.no_grad()
def _constants(whole: Backbone, positions: Mapping[str, Tensor]) -> Iterator[_Constant]:
    """Yield what removed filters add to each reader of a masked network.

    A removed filter does not depend on the image, so one blank image, in float64, shows what it
    feeds to every reader, through any chain of norms, residual sums and pools.
    """
    probe = copy.deepcopy(whole).double().eval()
    readers = [reader for reader in _readers(whole) if not positions[reader.group].all()]
    for reader, x in zip(readers, _inputs(probe, readers), strict=True):
        removed = (~positions[reader.group]).repeat_interleave(reader.block).to(x.device)
        alone = x * removed.view(1, -1, *(1 for _ in x.shape[2:]))
        module = probe.get_submodule(reader.module)
        added = (module(alone) - module(torch.zeros_like(x)))[0]  # (O, H, W), or (O,)
        added = added.reshape(len(added), -1)
        level = added.mean(dim=1)
        spread = (added - level[:, None]).abs().max()
        even = bool(spread <= _ROUNDING * added.abs().max())
        yield _Constant(reader, level, even)


def _inputs(probe: Backbone, readers: list[_Reader]) -> list[Tensor]:
    """Return what one blank image feeds to each reader."""
    fed: dict[nn.Module, Tensor] = {}

    def remember(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        fed[module] = inputs[0]

    modules = [probe.get_submodule(reader.module) for reader in readers]
    hooks = [module.register_forward_pre_hook(remember) for module in modules]
    like = probe.classifier.weight
    probe(like.new_zeros(1, probe.in_channels, probe.size, probe.size))
    for hook in hooks:
        hook.remove()
    return [fed[module] for module in modules]


def _readers(net: Backbone) -> list[_Reader]:
    """Return everything that is fed filters: reading layers, and routes into another stream."""
    coupling = net.coupling()
    readers = [
        _Reader(tie.tensor.rpartition(".")[0], group.name, tie.block, tie.absorber)
        for group in coupling.groups
        for tie in group.ties
        if tie.role == "reader" and tie.absorber is not None
    ]
    routes = [
        _Reader(route.buffer.rpartition(".")[0], route.source, 1, route.absorber)
        for route in coupling.routes
    ]
    return readers + routes


@torch.no_grad()
def _absorb(whole: Backbone, constants: list[_Constant]) -> None:
    """Add every constant to what takes it up, in place."""
    state = whole.state_dict()
    for constant in constants:
        absorber = state[constant.reader.absorber]
        # The norm subtracts its running mean.
        sign = -1.0 if constant.reader.absorber.endswith(".running_mean") else 1.0
        absorber += sign * constant.level.to(absorber.dtype)
