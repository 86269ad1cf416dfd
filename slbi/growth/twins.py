"""Which weights of a network that grows have a twin, and when their filters may enter."""

import math
from typing import Any, Final

from torch import nn

from slbi.nets.graph.find import Found
from slbi.optim.scale import auto_mu
from slbi.optim.shrink import group_norms

ENTRY: Final = 2 / 3
"""Share of a round after which a filter that keeps its initial norm enters the support. Below 0.58
even idle filters enter within a round, at 1 hardly any filter does (VGG-11 on digits)."""

NORM: Final = math.sqrt(2.0)
"""Norm of a fresh filter, in units of its threshold: what it is under He's initial values, whose
threshold is 1."""


def twinned(net: nn.Module, found: Found) -> list[dict[str, Any]]:
    """Return the parameters as groups for `SLBI`: weights that make filters have a twin by filter.

    The threshold of each is in units of its own filters, so that layers that begin small, as under
    torch's own initial values, enter like the others. Biases, norms and the classifier have none.

    Args:
        net: any network.
        found: of `net`.

    Source: docs/method.md, "Scale".
    """
    makers = {
        tie.tensor for group in found.coupling.groups for tie in group.made() if tie.axis == 0
    }
    groups: list[dict[str, Any]] = []
    plain = []
    for name, parameter in net.named_parameters():
        size = 0.0
        if name in makers and parameter.ndim > 1:
            size = float(group_norms(parameter.detach(), "filter").square().mean().sqrt())
        if size:
            threshold = size / NORM
            groups.append({"params": [parameter], "structure": "filter", "threshold": threshold})
        else:
            plain.append(parameter)
    return [*groups, {"params": plain, "structure": None}]


def round_mu(lr: float, steps: int) -> float:
    """Return the mu under which a filter that keeps its initial norm enters within a round.

    Args:
        lr: learning rate of the round; the full one if it has less (`stages.rate`), or its twins
            would pull as hard as ever.
        steps: of the round.

    Source: docs/method.md, "Scale".
    """
    return auto_mu(lr, math.ceil(ENTRY * steps), NORM)
