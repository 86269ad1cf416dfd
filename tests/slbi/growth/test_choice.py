from functools import partial

import pytest
import torch
from torch import nn

from slbi.growth.choice import alike, first, fitted, gains, levelled, raised, toward
from slbi.growth.stages import FIRST_SHARE, Target
from slbi.growth.twins import twinned
from slbi.nets.count import count
from slbi.nets.graph.find import Found, find
from slbi.nets.graph.resize import rebuilt
from slbi.nets.widths import Widths
from slbi.optim.optimizer import SLBI

SHAPE = (1, 8, 8)


def made(widths: tuple[int, int]) -> tuple[nn.Module, Found]:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, widths[0], 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(widths[0], widths[1], 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(widths[1] * 64, 3),
    )
    return net, find(net, SHAPE)


def cost_of(net: nn.Module, found: Found, widths: Widths) -> tuple[int, int]:
    return count(rebuilt(net, found, widths)[0], SHAPE)


def test_the_widest_network_alike_leaves_no_room_for_a_filter() -> None:
    net, found = made((16, 32))
    cost = partial(cost_of, net, found)
    standard = found.widths
    whole = cost(standard)[1]
    for part in (0.05, 0.1, 0.3, 0.7):
        limit = int(part * whole)
        widths = alike(standard, cost=cost, fits={"max_macs": limit})
        assert cost(widths)[1] <= limit
        shares = [widths[group] / standard[group] for group in widths]
        assert max(shares) - min(shares) <= 1 / 16 + 1 / 32
        for group in widths:
            assert cost(widths.replaced({group: widths[group] + 1}))[1] > limit
    assert alike(standard, cost=cost, fits={"max_macs": whole}) == standard


def test_what_is_raised_loses_nothing_and_a_network_beyond_the_limit_is_refused() -> None:
    net, found = made((16, 32))
    cost = partial(cost_of, net, found)
    uneven = found.widths.replaced(dict(zip(found.widths, (9, 4), strict=True)))
    limit = int(0.4 * cost(found.widths)[1])
    after = raised(uneven, found.widths, cost=cost, fits={"max_macs": limit})
    assert all(after[group] >= uneven[group] for group in uneven)
    assert after != uneven
    with pytest.raises(ValueError, match="max_macs 7 must allow the narrowest network, of"):
        raised(uneven, found.widths, cost=cost, fits={"max_macs": 7})


@pytest.mark.parametrize("multiple", [1, 4])
def test_a_levelled_plan_keeps_shares_multiples_and_caps(multiple: int) -> None:
    net, found = made((4, 8))
    cost = partial(cost_of, net, found)
    first, second = found.widths
    standard = Widths({first: 16, second: 32})
    limit = int(0.5 * cost(standard)[1])
    wider = levelled(found.widths, standard, cost=cost, max_macs=limit, multiple=multiple)
    assert cost(wider.widths)[1] <= limit
    assert all(width % multiple == 0 for width in wider.widths.values())
    assert abs(wider.widths[first] / 16 - wider.widths[second] / 32) <= multiple / 8
    assert {change.group for change in wider.changes} == {first, second}


def test_a_levelled_plan_leaves_closed_groups_and_greatest_widths() -> None:
    net, found = made((4, 8))
    cost = partial(cost_of, net, found)
    first, second = found.widths
    standard = Widths({first: 16, second: 32})
    limit = cost(standard)[1]
    shut = levelled(found.widths, standard, cost=cost, max_macs=limit, closed={first: "shut"})
    assert shut.widths[first] == 4
    assert shut.widths[second] > 8
    capped = levelled(found.widths, standard, cost=cost, max_macs=limit, max_width={second: 10})
    assert capped.widths[second] == 10


@pytest.mark.parametrize("cap", [None, 20, 14])
def test_levelled_widths_beyond_the_standard_do_not_hang_on_the_start(cap: int | None) -> None:
    net, found = made((4, 8))
    cost = partial(cost_of, net, found)
    first, second = found.widths
    standard = Widths({first: 16, second: 32})
    limit = 2 * cost(standard)[1]
    most = None if cap is None else {first: cap}
    ends = [
        levelled(
            Widths({first: start[0], second: start[1]}),
            standard,
            cost=cost,
            max_macs=limit,
            max_width=most,
        ).widths
        for start in ((4, 8), (14, 8), (4, 44))
    ]
    assert ends[0] == ends[1] == ends[2]
    assert ends[0][first] == cap if cap else abs(2 * ends[0][first] - ends[0][second]) <= 2
    assert ends[0][second] > standard[second]


def test_those_that_take_first_get_more() -> None:
    net, found = made((8, 8))
    cost = partial(cost_of, net, found)
    first, second = found.widths
    limit = int(1.5 * cost(found.widths)[1])
    wider = fitted(found.widths, [second], cost=cost, max_macs=limit)
    assert wider.widths[second] > wider.widths[first]
    assert cost(wider.widths)[1] <= limit
    for group in wider.widths:
        more = wider.widths.replaced({group: wider.widths[group] + 1})
        assert cost(more)[1] > limit


def test_gains_are_of_groups_that_are_full_and_move() -> None:
    net, found = made((4, 8))
    cost = partial(cost_of, net, found)
    optimizer = SLBI(twinned(net, found), lr=0.1, mu=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        images = torch.randn(16, *SHAPE, generator=torch.Generator().manual_seed(1))
        net(images).square().mean().backward()
        optimizer.step()
    before = gains(optimizer, net, cost=cost, found=found)
    assert min(before.values()) > 0
    first, second = found.widths
    for tie in found.coupling.group(second).made():
        optimizer.state[net.get_parameter(tie.tensor)]["momentum_buffer"].zero_()
    after = gains(optimizer, net, cost=cost, found=found)
    assert after[second] == 0
    assert after[first] == before[first]


def test_growth_starts_small_and_closed_groups_at_their_share_of_the_target() -> None:
    net, found = made((64, 128))
    cost = partial(cost_of, net, found)
    standard = found.widths
    params, macs = cost(standard)
    one, two = standard
    start = first(standard, Target(max_macs=macs // 2), cost=cost)
    assert 0.8 * FIRST_SHARE * macs < cost(start)[1] <= FIRST_SHARE * macs
    low = macs // 100
    assert cost(first(standard, Target(max_macs=low), cost=cost))[1] <= low
    least = first(standard, Target(max_params=params // 2), cost=cost, least={one: 20, two: 20})
    assert dict(least) == {one: 20, two: 20}
    kept = first(standard, Target(max_macs=macs // 2), cost=cost, closed=[one])
    assert kept[one] == alike(standard, cost=cost, fits={"max_macs": macs // 2})[one]
    assert kept[two] < kept[one]
    with pytest.raises(ValueError, match="must allow the narrowest network"):
        first(standard, Target(max_macs=5), cost=cost)


def test_small_rooms_on_the_way_to_some_widths_lead_there() -> None:
    net, found = made((2, 2))
    cost = partial(cost_of, net, found)
    one, two = found.widths
    aim = Widths({one: 6, two: 12})
    widths, limit = found.widths, cost(found.widths)[1]
    while widths != aim:
        limit = int(limit * 1.1) + 1
        widths = toward(widths, aim, cost=cost, max_macs=limit).widths
        assert cost(widths)[1] <= limit
        assert all(widths[group] <= aim[group] for group in aim)
    assert limit < 1.15 * cost(aim)[1]
