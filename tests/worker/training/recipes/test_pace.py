"""Plans under a cap on latency, by times that a formula makes."""

from collections.abc import Sequence
from itertools import count

import pytest
import torch

from slbi.growth.plan import Plan, Slow, plan
from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from worker.training.count import Stopwatch
from worker.training.device import Compute
from worker.training.recipes.pace import within_latency

CPU = Compute(device=torch.device("cpu"), precision="float32")


class Formula(Stopwatch):
    """A millisecond for each hundred filters; what is looked at hastily may seem faster."""

    def __init__(self, flatters: float = 1.0) -> None:
        super().__init__(CPU)
        self.flatters = flatters
        self.looks = count()

    def __call__(self, nets: Sequence[Backbone], *, thorough: bool) -> Sequence[float]:
        next(self.looks)
        share = 1.0 if thorough else self.flatters
        return [sum(net.widths.values()) / 100 * share for net in nets]


@pytest.fixture
def narrow() -> Backbone:
    widths = Widths(dict.fromkeys(backbones.groups("vgg11", 8), 8))
    return backbones.build("vgg11", widths, in_channels=1, size=8, classes=3)


def _made(net: Backbone, cap_ms: float | None, stopwatch: Stopwatch) -> Plan:
    def make(slow: Slow | None) -> Plan:
        return plan(net.widths, list(net.widths), ratio=2, minimum=1, slow=slow)

    return within_latency(make, net, cap_ms, stopwatch)


def test_the_plan_is_the_widest_that_keeps_to_the_cap(narrow: Backbone) -> None:
    made = _made(narrow, 1.0, Formula())
    assert sum(made.widths.values()) == 98  # filters of 0.98 ms, a margin below the cap
    assert all(change.after < change.wanted for change in made.changes[-1:])


def test_a_cap_beyond_reach_leaves_the_plan_whole_and_no_cap_measures_nothing(
    narrow: Backbone,
) -> None:
    assert set(_made(narrow, 9.0, Formula()).widths.values()) == {16}
    stopwatch = Formula()
    assert set(_made(narrow, None, stopwatch).widths.values()) == {16}
    assert next(stopwatch.looks) == 0


def test_a_plan_that_turns_out_too_slow_is_made_again_for_less(narrow: Backbone) -> None:
    made = _made(narrow, 1.0, Formula(flatters=0.93))
    assert 64 < sum(made.widths.values()) <= 100


def test_if_no_plan_holds_nothing_grows_and_every_group_is_refused(narrow: Backbone) -> None:
    made = _made(narrow, 1.0, Formula(flatters=0.5))
    assert made.changes == ()
    assert made.widths == narrow.widths
    assert {refusal.group for refusal in made.refused} == set(narrow.widths)
    assert "max_latency_ms 1 when it is measured again" in made.refused[0].reason


def test_a_network_that_is_too_slow_already_does_not_grow(narrow: Backbone) -> None:
    made = _made(narrow, 0.5, Formula())
    assert made.changes == ()
    assert "would pass max_latency_ms 0.5" in made.refused[0].reason
