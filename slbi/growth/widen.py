"""The surgery: a network with more filters, and the optimizer that goes on with it."""

import torch

from slbi.growth.seed import RandomSeed, Seed
from slbi.nets.backbone import Backbone
from slbi.nets.graph.find import Found
from slbi.nets.graph.resize import NetT, known, resized
from slbi.nets.transfer import OptimizerT, appended, carried_optimizer, carry_net
from slbi.nets.widths import Widths


def widen(
    net: NetT,
    optimizer: OptimizerT,
    widths: Widths,
    *,
    found: Found | None = None,
    seed: Seed | None = None,
    generator: torch.Generator,
) -> tuple[NetT, OptimizerT]:
    """Return a wider network that computes the same function, and its optimizer.

    New filters are appended behind the old ones of their group, in every tensor that shares their
    axis. Nothing reads them yet: their columns in every reader are zero. Their norm is neutral
    (scale 1, shift 0, mean 0, variance 1), their bias zero, their rows are the seed's. Weights,
    statistics, optimizer state, dtype, device, training flags and `requires_grad` of the old
    filters are carried; the state of new ones is zero. The old pair is left as it is.

    Args:
        net: the network.
        optimizer: drives parameters of `net`, all or some.
        widths: of the new network, none smaller than before.
        found: of `net`; None for a backbone, which knows itself. Of the new network it is
            `found.resized(widths)`.
        seed: what gives the new filters their rows; None is `RandomSeed`.
        generator: source of the seed's random values.

    Raises:
        ValueError: other groups or fewer filters, a group over which a norm takes a statistic, or
            a parameter that is not the network's.

    Source: docs/method.md, "Growth".
    """
    before = known(net, found)
    sources = appended(before.widths, widths)
    for group in before.coupling.groups:
        if group.blended is not None and widths[group.name] > before.widths[group.name]:
            raise ValueError(f"group {group.name!r} must keep its width: {group.blended}")
    wider, after = resized(net, before, sources)
    carried = carried_optimizer(optimizer, net, wider, before, sources)
    (RandomSeed() if seed is None else seed).plant(wider, after, before.widths, generator)
    return wider, carried


def restart(
    net: Backbone, optimizer: OptimizerT, widths: Widths, *, generator: torch.Generator
) -> tuple[Backbone, OptimizerT]:
    """Return a wider network as the reference makes it, and an optimizer without state.

    The old tensors are copied into the leading corner of a fresh network. New filters are read at
    once through random weights, so the function changes. The old pair is left as it is.

    Args:
        net: the network.
        optimizer: its groups and hyper-parameters are kept, its state is not.
        widths: of the new network, none smaller than before.
        generator: source of the fresh weights.

    Raises:
        ValueError: as for `widen`.

    Source: docs/method.md, "Growth".
    """
    found = net.found()
    sources = appended(found.widths, widths)
    wider = net.rebuild(widths, generator=generator)
    carry_net(net, wider, found, sources)
    return wider, carried_optimizer(optimizer, net, wider, found, sources, keep_state=False)
