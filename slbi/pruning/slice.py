"""Remove filters physically, in every tensor that shares their axis."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor
from torch.optim import Optimizer

from slbi.nets.backbone import Backbone
from slbi.nets.counted import settle
from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import NetT, known, resized
from slbi.nets.transfer import carried_optimizer
from slbi.pruning.fold import Constant, absorb, constants
from slbi.pruning.keep import settled
from slbi.pruning.mask import masked

AnyOptimizer = TypeVar("AnyOptimizer", bound=Optimizer | None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sliced(Generic[NetT, AnyOptimizer]):
    """What slicing made, and how far it may be trusted."""

    net: NetT
    optimizer: AnyOptimizer
    found: Found
    """Of `net`."""
    kept: Mapping[str, Tensor]
    """Group -> (O,) int64: for every filter left, the index it had. A stream keeps more than was
    asked: every position to which a filter of the stage before is still added."""
    inexact: tuple[str, ...]
    """Groups whose removed filters emitted something that a reader cannot take up, such as a
    constant that a padded reader does not see as one at the borders. BatchNorm must then be
    recalibrated, see `recalibrate`."""
    rescued: tuple[str, ...]
    """Groups of which nothing would be left; their filter of the largest norm was kept."""

    @property
    def exact(self) -> bool:
        """Whether the network computes in evaluation what the masked one does."""
        return not self.inexact


def slice_filters(
    net: NetT,
    optimizer: AnyOptimizer,
    keep: Mapping[str, Tensor],
    *,
    found: Found | None = None,
    shape: tuple[int, ...] | None = None,
    bias: bool = True,
) -> Sliced[NetT, AnyOptimizer]:
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
        found: of `net`; None for a backbone, which knows itself.
        shape: of one input, without the batch, to see what masked filters emit; None for a
            backbone. Of another network without a shape that is dropped, which equals the silent
            mask wherever what lies between a norm and its readers answers zero with zero.
        bias: a removed filter's own bias goes with it; else what it makes of zero is taken up too.

    Raises:
        ValueError: an unknown group, a mask that is not (O,) bool, a group that loses filters over
            which a norm takes a statistic, or a parameter of the optimizer that is not the
            network's.

    Source: docs/method.md, "Slice".
    """
    before = known(net, found)
    stays = settled(net, keep, found=before)
    if shape is None and isinstance(net, Backbone):
        shape = (net.in_channels, net.size, net.size)
    whole, emitted = net, list[Constant]()
    if shape is not None:
        whole = masked(net, keep, found=before, bias=bias)
        image = next(net.parameters()).new_zeros(1, *shape)
        emitted = list(constants(whole, before.coupling, stays.positions, image))
        absorb(whole, emitted)
    kept = {group: position.nonzero().flatten() for group, position in stays.positions.items()}
    narrow, after = resized(whole, before, kept)
    for group in after.coupling.groups:
        for name in group.tensors("counted"):
            settle(narrow.get_buffer(name))
    carried = optimizer
    if optimizer is not None:
        carried = carried_optimizer(optimizer, net, narrow, before, kept)
    uneven = {constant.group for constant in emitted if not constant.exact}
    return Sliced(
        net=narrow,
        optimizer=carried,
        found=after,
        kept=kept,
        inexact=tuple(group for group in before.widths if group in uneven),
        rescued=stays.rescued,
    )
