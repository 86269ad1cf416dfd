"""Growth under a cap on latency: a plan is measured before it is taken."""

from collections.abc import Callable

from slbi.growth.plan import Plan, Refusal, Slow
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from worker.training.count import Stopwatch

_MARGINS = (0.98, 0.94, 0.9)
"""Shares of the cap that plans are made for, one after the other until one holds. Of many hasty
looks some flatter, and those are the ones that a plan is made of."""


def within_latency(
    make: Callable[[Slow | None], Plan],
    net: Backbone,
    cap_ms: float | None,
    stopwatch: Stopwatch,
) -> Plan:
    """Return a plan whose network takes no longer than the cap when it is measured thoroughly.

    Args:
        make: makes a plan of growth that keeps to what it is given, see `plan`.
        net: the network that would be widened, on its device.
        cap_ms: of one image; None measures nothing.
        stopwatch: measures networks of some widths beside `net`.

    Returns:
        The plan; one without changes if none holds.
    """
    if cap_ms is None:
        return make(None)
    made = None
    for margin in _MARGINS:
        made = make(_slow(net, cap_ms * margin, cap_ms, stopwatch))
        if (
            not made.changes
            or stopwatch([net, net.hollow(made.widths)], thorough=True)[1] <= cap_ms
        ):
            return made
    reason = f"no wider network keeps to max_latency_ms {cap_ms:g} when it is measured again"
    refused = (
        [Refusal(group=change.group, reason=reason) for change in made.changes] if made else []
    )
    return Plan(widths=net.widths, changes=(), refused=tuple(refused))


def _slow(net: Backbone, limit_ms: float, cap_ms: float, stopwatch: Stopwatch) -> Slow:
    def told(widths: Widths) -> str | None:
        ms = stopwatch([net, net.hollow(widths)], thorough=False)[1]
        return f"{ms:.3g} ms would pass max_latency_ms {cap_ms:g}" if ms > limit_ms else None

    return told
