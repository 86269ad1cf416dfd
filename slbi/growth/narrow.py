"""The network that a growth starts from: a standard one with fewer filters."""

import math

import torch

from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import NetT, known, resized
from slbi.nets.widths import Widths


def start_widths(
    found: Found,
    *,
    filters: int | None = None,
    ratio: float | None = None,
    multiple: int = 1,
    minimum: int = 1,
) -> Widths:
    """Return the widths to start from, none greater than they are.

    Args:
        found: of the standard network.
        filters: of every group; None leaves it to `ratio`.
        ratio: share of the filters, in (0, 1].
        multiple: the number of filters is rounded up to a multiple of it.
        minimum: fewest filters of a group.

    Raises:
        ValueError: neither or both of `filters` and `ratio`, or one out of range.
    """
    if (filters is None) == (ratio is None):
        raise ValueError(f"one of filters and ratio must be given, got {filters} and {ratio}")
    if ratio is not None and not 0 < ratio <= 1:
        raise ValueError(f"ratio must be in (0, 1], got {ratio}")
    for name, number in (("filters", filters), ("multiple", multiple), ("minimum", minimum)):
        if number is not None and number < 1:
            raise ValueError(f"{name} must be >= 1, got {number}")

    def start(width: int) -> int:
        asked = filters if ratio is None else math.ceil(ratio * width)
        rounded = math.ceil(max(asked or 1, minimum) / multiple) * multiple
        return min(width, rounded)

    return Widths({group: start(width) for group, width in found.widths.items()})


@torch.no_grad()
def narrow(net: NetT, widths: Widths, *, found: Found | None = None) -> NetT:
    """Return the network with the first filters of every group alone.

    What reads fewer filters reads them louder, by the square root of the share that is gone, so
    that signals keep their variance where the filters were drawn at random.

    Args:
        net: the standard network, with or without data; left as it is.
        widths: of the network returned, none greater than before.
        found: of `net`; None for a backbone, which knows itself. Of the network returned it is
            `found.resized(widths)`.

    Raises:
        ValueError: other groups or more filters.
    """
    whole = known(net, found)
    whole.resized(widths)
    for group, width in widths.items():
        if width > whole.widths[group]:
            raise ValueError(
                f"width of {group!r} must be at most {whole.widths[group]}, got {width}"
            )
    small, _ = resized(net, whole, {group: torch.arange(width) for group, width in widths.items()})
    before = dict(net.named_parameters())
    for (tensor, axis), ties in whole.coupling.by_axis().items():
        if ties[0][1].role == "reader":
            weight = small.get_parameter(tensor)
            weight.mul_(math.sqrt(before[tensor].shape[axis] / weight.shape[axis]))
    return small
