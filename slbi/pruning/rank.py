"""Which filters of a network go: those that rank lowest, until it fits a budget."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.pruning.keep import norms_of
from slbi.pruning.nested import Nested
from slbi.structure.order import prune_rank, prune_score

Order = Literal["mixed", "lexicographic", "norm"]
"""mixed: norm less first epoch in the support. lexicographic: the epoch, then the norm. norm: the
norm alone."""


def filter_norms(net: Backbone) -> dict[str, Tensor]:
    """Return group -> (O,) norm of every filter over all weights that make it.

    Source: docs/method.md, "Prune".
    """
    return {
        group.name: norms_of(net, group, net.widths[group.name]) for group in net.coupling().groups
    }


def rank(norms: Tensor, entry: Tensor | None, order: Order) -> Tensor:
    """Return a number a filter or entry: the lower, the earlier it goes.

    Args:
        norms: 0 or more, of any shape.
        entry: of the same shape. Epochs of `EntryOrder.entry`; None where there are none.
        order: by what.

    Raises:
        ValueError: `order` needs entry epochs and there are none, or the shapes differ.

    Source: docs/method.md, "Entry order".
    """
    if order == "norm":
        return norms
    if entry is None:
        raise ValueError(f"order {order!r} needs the entry order of a run, there is none")
    return (prune_score if order == "mixed" else prune_rank)(norms, entry)


def rank_together(
    norms: Mapping[str, Tensor], entries: Mapping[str, Tensor], order: Order
) -> dict[str, Tensor]:
    """Return `rank` of the filters of all groups among each other.

    Norms of different groups compare only in units of their group's mean.

    Args:
        norms: group -> (O,), 0 or more.
        entries: group -> (O,), epochs; a group may be missing only where `order` is "norm".
        order: by what.

    Raises:
        ValueError: as `rank`, for a group that the message names.

    Source: docs/method.md, "Prune".
    """
    missing = [group for group in norms if group not in entries]
    if order != "norm" and missing:
        raise ValueError(
            f"order {order!r} needs the entry order of every group, that of {missing[0]} is missing"
        )
    sizes = [norm / norm.mean().clamp(min=torch.finfo(norm.dtype).tiny) for norm in norms.values()]
    epochs = None if missing else torch.cat([entries[group] for group in norms])
    ranked = rank(torch.cat(sizes), epochs, order)
    lengths = [len(norm) for norm in norms.values()]
    parts = torch.split(ranked, lengths)
    return dict(zip(norms, parts, strict=True))


def by_budget(
    net: Backbone,
    ranks: Mapping[str, Tensor],
    *,
    max_macs: int | None = None,
    max_params: int | None = None,
    multiple: int = 1,
    min_width: int | Mapping[str, int] = 1,
) -> dict[str, Tensor]:
    """Return which filters stay so that the network fits: as many as possible, the first in rank.

    Args:
        net: the network.
        ranks: group -> (O,), comparable between groups; a group that is not named stays whole.
        max_macs: multiply-accumulates of one image, forward.
        max_params: parameters.
        multiple: widths are rounded up to a multiple of this, see `refilled`.
        min_width: fewest filters of a group; a table need not name every group.

    Returns:
        Group -> (O,) bool. The first in rank of each group stays in any case.

    Raises:
        ValueError: even the smallest widths are too many; says how much that is.

    Source: docs/method.md, "Prune".
    """
    nested = Nested(net=net, ranks=ranks, multiple=multiple, min_width=min_width)

    def fits(gone: int) -> bool:
        params, macs = net.cost(nested.widths(gone))
        return (max_macs is None or macs <= max_macs) and (
            max_params is None or params <= max_params
        )

    least, most = 0, nested.last
    if not fits(most):
        params, macs = net.cost(nested.widths(most))
        raise ValueError(
            f"a budget must be at least {macs} MACs and {params} parameters, which the smallest "
            f"widths take, got max_macs {max_macs} and max_params {max_params}"
        )
    while least < most:  # the fewest that must go
        middle = (least + most) // 2
        least, most = (least, middle) if fits(middle) else (middle + 1, most)
    return nested.keep(least)
