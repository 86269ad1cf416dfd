import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from slbi.course.family import Grown
from slbi.course.grow import grow
from slbi.course.settings import Growth
from slbi.nets.count import count
from slbi.nets.graph.find import find
from slbi.nets.graph.resize import rebuilt
from slbi.structure.path import unpack
from tests.slbi.course.own import Digits, Own

SHAPE = (1, 8, 8)
QUICK = Growth(rounds=3, round_epochs=3, tune_epochs=2, minimum=2, ratio=1.5)

Make = Callable[[], nn.Module]


@pytest.fixture(scope="module")
def grown(digits: Digits) -> tuple[nn.Module, Grown]:
    torch.manual_seed(0)
    net = Own()
    return net, grow(
        net, digits.batches, shape=SHAPE, start=0.125, settings=QUICK, score=digits.score
    )


def test_a_network_of_ones_own_grows_and_learns(grown: tuple[nn.Module, Grown]) -> None:
    net, told = grown
    first, last = told.members[0], told.members[-1]
    assert dict(first.found.widths) == {"stem.0": 2, "branch.0": 2}
    assert sum(last.found.widths.values()) > sum(first.found.widths.values())
    assert type(last.net) is type(net)
    assert told.best.score > 0.9
    assert told.best.score > first.score


def test_members_are_what_is_said_of_them(grown: tuple[nn.Module, Grown], digits: Digits) -> None:
    net, told = grown
    whole = find(net, SHAPE)
    for member in told.members:
        assert (member.params, member.macs) == count(member.net, SHAPE)
        assert member.score == digits.score(member.net)
        assert find(member.net, SHAPE).widths == member.found.widths
        again, _ = rebuilt(net, whole, member.found.widths)
        again.load_state_dict(member.net.state_dict())
        x = digits.images[:4]
        assert torch.equal(again.eval()(x), member.net(x))


def test_the_path_tells_every_epoch_and_every_widening(grown: tuple[nn.Module, Grown]) -> None:
    _, told = grown
    path = told.path
    assert [layer.name for layer in path.layer_records] == ["stem.0", "branch.0"]
    assert [step.epoch for step in path.step_records] == list(range(1, len(path.step_records) + 1))
    widths = dict(told.members[0].found.widths)
    growth = list(path.growth_records)
    for step in path.step_records:
        while growth and growth[0].step < step.step:
            change = growth.pop(0)
            layer = path.layer_records[change.layer].name
            assert widths[layer] == change.before
            assert change.fill >= change.threshold
            widths[layer] = change.after
        for support in step.support:
            bits = unpack(support.bits, support.n_filters)
            assert int(bits.sum()) == support.n_active
            assert support.n_filters == widths[path.layer_records[support.layer].name]
    assert not growth
    assert told.ended == "3 rounds are done"


def test_the_network_given_is_left_as_it_is(own: Make, digits: Digits) -> None:
    net = own()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    settings = Growth(rounds=1, round_epochs=1, tune_epochs=0)
    told = grow(net, digits.batches, shape=SHAPE, settings=settings)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert math.isnan(told.members[0].score)
    assert told.best.origin == "round 0"


def test_equal_calls_give_equal_networks(own: Make, digits: Digits) -> None:
    settings = Growth(rounds=2, round_epochs=1, tune_epochs=0, threshold=0.01, minimum=2)
    one, other = (
        grow(own(), digits.batches, shape=SHAPE, settings=settings).members[-1].net
        for _ in range(2)
    )
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_what_is_excluded_neither_grows_nor_loses_filters(own: Make, digits: Digits) -> None:
    settings = Growth(
        rounds=2, round_epochs=1, tune_epochs=0, threshold=0.01, minimum=2, exclude=("stem.*",)
    )
    told = grow(own(), digits.batches, shape=SHAPE, settings=settings)
    assert {member.found.widths["stem.0"] for member in told.members} == {4}
    assert not told.path.layer_records[0].growable


def test_a_cap_ends_the_growth_and_is_named(own: Make, digits: Digits) -> None:
    params = count(own(), SHAPE)[0]
    settings = Growth(
        rounds=9, round_epochs=1, tune_epochs=0, threshold=0.01, minimum=4, max_params=params // 3
    )
    told = grow(own(), digits.batches, shape=SHAPE, settings=settings)
    assert "max_params" in told.ended
    assert all(member.params <= params // 3 for member in told.members)


def test_groups_to_exclude_must_exist(own: Make, digits: Digits) -> None:
    with pytest.raises(ValueError, match=r"exclude must name groups .*stem\.0, .*got 'stern'"):
        grow(own(), digits.batches, shape=SHAPE, settings=Growth(exclude=("stern",)))


def test_a_network_in_which_nothing_can_grow_is_refused(own: Make, digits: Digits) -> None:
    with pytest.raises(ValueError, match=r"must be free to grow, got none: stem\.0: it is excl"):
        grow(own(), digits.batches, shape=SHAPE, settings=Growth(exclude=("*",)))


def test_a_loss_that_explodes_is_an_error(own: Make, digits: Digits) -> None:
    with pytest.raises(ValueError, match="the loss must stay finite, got"):
        grow(own(), digits.batches, shape=SHAPE, settings=Growth(lr=1e6, rounds=1))


def test_loose_twins_take_a_tenth_of_the_weights_and_filters_enter(
    own: Make, digits: Digits
) -> None:
    def left(pull: float) -> tuple[float, bool]:
        # At such a rate the loss moves nothing; mu follows it, so the twins pull as ever.
        settings = Growth(rounds=1, round_epochs=2, tune_epochs=0, lr=1e-9, pull=pull, momentum=0.0)
        told = grow(own(), digits.batches, shape=SHAPE, settings=settings, start=1.0)
        entered = [support.n_active > 0 for support in told.path.step_records[-1].support]
        after, before = (
            float(net.get_parameter("stem.0.weight").detach().norm())
            for net in (told.members[0].net, own())
        )
        return after / before, all(entered)

    assert left(1.0)[0] < 0.5
    kept, entered = left(0.1)
    assert kept > 0.85
    assert entered


def test_groups_may_be_chosen_by_what_they_promise(own: Make, digits: Digits) -> None:
    settings = Growth(
        rounds=2, round_epochs=1, tune_epochs=0, threshold=0.01, minimum=2, where="gain"
    )
    told = grow(own(), digits.batches, shape=SHAPE, settings=settings)
    assert told.path.growth_records
