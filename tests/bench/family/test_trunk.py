from dataclasses import replace

import pytest
import torch

from bench.family.networks import Standard
from bench.family.ours import OURS, choose_full, choose_uniform, choose_votes
from bench.family.rivals_grown import choose_reference
from bench.family.training import Settings, coupled, plain
from bench.family.trunk import Choose, Room, Trunk
from slbi.growth.rule import fills


def trunk(standard: Standard) -> Trunk:
    widths = standard.uniform(standard.limits((0.05,))[0])
    net = standard.fresh(widths, torch.Generator().manual_seed(0))
    found = standard.found().resized(widths)
    optimizer = coupled(net, found, Settings())
    for group in optimizer.param_groups:
        group["mu"] = 0.1  # all filters enter at once
    for _ in range(5):
        optimizer.zero_grad()
        images = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        net(images).square().mean().backward()
        optimizer.step()
    return Trunk(standard=standard, net=net, found=found, optimizer=optimizer)


@pytest.mark.parametrize("choose", [choose_full, choose_votes, choose_uniform, choose_reference])
@pytest.mark.parametrize("name", ["small-vgg", "resnet20"])
def test_a_choice_grows_within_its_room(choose: Choose, name: str) -> None:
    standard = Standard(name, 1, 8, 10)
    grown = trunk(standard)
    room = Room(target=2 * grown.macs, limit=4 * grown.macs)
    widths = choose(grown, room)
    most = room.limit if choose is choose_reference else room.target
    assert grown.macs < standard.cost(widths)[1] <= most
    assert all(widths[group] >= grown.found.widths[group] for group in widths)


def test_gammas_choice_needs_slbi() -> None:
    grown = trunk(Standard("small-vgg", 1, 8, 10))
    grown.optimizer = plain(grown.net, Settings())
    with pytest.raises(TypeError, match="must be SLBI, got SGD"):
        choose_votes(grown, Room(target=2 * grown.macs, limit=2 * grown.macs))


def test_a_way_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="rise above 1"):
        replace(OURS, rise=1.0)


def test_a_loose_coupling_lets_filters_enter_as_before_and_pulls_less() -> None:
    standard = Standard("small-vgg", 1, 8, 10)
    filled, moved = [], []
    for coupling in (1.0, 0.1):
        net = standard.fresh(standard.widths, torch.Generator().manual_seed(0)).double()
        found = standard.found()
        optimizer = coupled(net, found, Settings(decay=0.0), coupling=coupling)
        for group in optimizer.param_groups:
            group["mu"] = 2.0 / coupling
        before = net.get_parameter("conv3.weight").detach().clone()
        for _ in range(26):
            for parameter in net.parameters():
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
        filled.append(fills(optimizer, net, found=found)["conv3"])
        moved.append(float((net.get_parameter("conv3.weight").detach() - before).norm()))
    assert 0 < filled[0] <= filled[1]
    assert moved[1] < 0.3 * moved[0]
