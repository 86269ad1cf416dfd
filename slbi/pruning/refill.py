"""Which of the filters that go stay after all, so that a group's width suits."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import known
from slbi.pruning.keep import fed


def refilled(
    net: nn.Module,
    keep: Mapping[str, Tensor],
    ranks: Mapping[str, Tensor],
    *,
    found: Found | None = None,
    multiple: int = 1,
    min_width: int | Mapping[str, int] = 1,
) -> dict[str, Tensor]:
    """Return which filters stay once every width is a multiple, and none is too small.

    What is lacking is made up by the filters of the highest rank among those that would go; a group
    that has fewer than that stays whole. What counts is the width of the sliced network: positions
    of a stream that the stage before still feeds are in it.

    Args:
        net: the network.
        keep: group -> (O,) bool, filters to keep; a group that is not named is kept whole.
        ranks: group -> (O,), for every group of `keep`: the higher, the longer a filter stays.
        found: of `net`; None for a backbone, which knows itself.
        multiple: widths are rounded up to a multiple of this, 1 or more.
        min_width: fewest filters of a group, 1 or more; a table need not name every group.

    Returns:
        Group -> (O,) bool, for the groups of `keep`.

    Raises:
        ValueError: a setting is below 1, or a group of `keep` has no ranks.

    Source: docs/method.md, "Widths that suit".
    """
    table = min_width if isinstance(min_width, Mapping) else dict.fromkeys(keep, min_width)
    _check(multiple, table, keep, ranks)
    whole = known(net, found)
    positions: dict[str, Tensor] = {}
    filled: dict[str, Tensor] = {}
    for group in whole.coupling.groups:
        name = group.name
        if name not in keep:
            positions[name] = torch.ones(whole.widths[name], dtype=torch.bool)
            continue
        chosen = keep[name].cpu()
        stays = chosen | fed(net, whole, name, positions)
        least = -(-max(table.get(name, 1), int(stays.sum())) // multiple) * multiple
        lacking = min(least, len(stays)) - int(stays.sum())
        if lacking > 0:
            order = ranks[name].cpu().double().masked_fill(stays, -torch.inf)
            best = order.argsort(descending=True, stable=True)[:lacking]
            chosen = chosen.index_fill(0, best, 1)
            stays = stays | chosen
        filled[name], positions[name] = chosen, stays
    return filled


def _check(
    multiple: int,
    min_width: Mapping[str, int],
    keep: Mapping[str, Tensor],
    ranks: Mapping[str, Tensor],
) -> None:
    if multiple < 1:
        raise ValueError(f"multiple must be >= 1, got {multiple}")
    for group, width in min_width.items():
        if width < 1:
            raise ValueError(f"min_width of {group} must be >= 1, got {width}")
    for group in keep:
        if group not in ranks:
            raise ValueError(f"every group to keep must have ranks, {group!r} has none")
