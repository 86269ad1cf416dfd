from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from slbi.nets.transfer import appended, carried_optimizer, carry_net
from slbi.nets.widths import Widths

Trained = Callable[..., Any]


def test_appended_filters_have_no_source() -> None:
    sources = appended(Widths({"a": 2, "b": 1}), Widths({"a": 4, "b": 1}))
    assert sources["a"].tolist() == [0, 1, -1, -1]
    assert sources["b"].tolist() == [0]


def test_fewer_filters_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="width of 'b' must be >= 3, got 2"):
        appended(Widths({"a": 2, "b": 3}), Widths({"a": 2, "b": 2}))


def test_other_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="widths must name the groups a, got b"):
        appended(Widths({"a": 2}), Widths({"b": 2}))


def test_a_block_of_entries_travels_with_its_filter(trained: Trained) -> None:
    net, _, _ = trained("flat")
    picked = torch.tensor([5, -1, 2])
    new = net.hollow(Widths({"conv": 3, "fc": 9}))
    carry_net(net, new, net.found(), {"conv": picked, "fc": torch.arange(9)})
    old = net.get_parameter("fc.weight").view(9, 8, 16)
    carried = new.get_parameter("fc.weight").view(9, 3, 16)
    assert torch.equal(carried[:, 0], old[:, 5])
    assert torch.equal(carried[:, 2], old[:, 2])
    assert not carried[:, 1].any()


def test_a_route_is_renumbered_on_both_sides(trained: Trained) -> None:
    net, _, _ = trained("resnet20")
    assert net.widths["stage1"] == 16
    sources = {group: torch.arange(width) for group, width in net.widths.items()}
    sources["stage1"] = torch.tensor([3, 0, 7])
    sources["stage2"] = torch.tensor([0, -1, 7, 9, 20])
    widths = Widths({group: len(source) for group, source in sources.items()})
    new = net.hollow(widths)
    carry_net(net, new, net.found(), sources)
    table = new.get_buffer("stages.stage2.block1.shortcut.source")
    # 0 was fed by 0, which is 1 now; nothing feeds a new filter; 9's feeder is gone; 20 had none.
    assert table.tolist() == [1, -1, 2, -1, -1]


def test_training_flags_and_frozen_weights_are_carried(trained: Trained) -> None:
    net, _, _ = trained("flat")
    net.train()
    net.get_submodule("norm").eval()
    net.get_parameter("fc.bias").requires_grad_(requires_grad=False)
    new = net.hollow(net.widths)
    carry_net(net, new, net.found(), appended(net.widths, net.widths))
    assert new.training
    assert not new.get_submodule("norm").training
    assert [n for n, p in new.named_parameters() if not p.requires_grad] == ["fc.bias"]


def test_the_channels_last_layout_is_carried(trained: Trained) -> None:
    net, optimizer, _ = trained("vgg11")
    net.to(memory_format=torch.channels_last)
    wider = net.widths.replaced({"conv1": 20})
    new = net.hollow(wider)
    sources = appended(net.widths, wider)
    carry_net(net, new, net.found(), sources)
    weight = new.get_parameter("features.conv2.conv.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    carried = carried_optimizer(optimizer, net, new, net.found(), sources)
    buffer = carried.state[weight]["momentum_buffer"]
    assert buffer.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", ["sgd", "adamw", "slbi"])
def test_groups_keep_their_order_and_hyper_parameters(trained: Trained, kind: str) -> None:
    net, optimizer, _ = trained("flat", optimizer=kind)
    optimizer.param_groups[0]["lr"] = 0.123
    optimizer.param_groups[0]["initial_lr"] = 0.5
    new = net.hollow(net.widths)
    sources = appended(net.widths, net.widths)
    carry_net(net, new, net.found(), sources)
    carried = carried_optimizer(optimizer, net, new, net.found(), sources)
    names = {parameter: name for name, parameter in net.named_parameters()}
    for group, other in zip(optimizer.param_groups, carried.param_groups, strict=True):
        mine = {key: value for key, value in group.items() if key != "params"}
        assert mine == {key: value for key, value in other.items() if key != "params"}
        for parameter, twin in zip(group["params"], other["params"], strict=True):
            assert twin is new.get_parameter(names[parameter])
    assert carried.defaults == optimizer.defaults


def test_named_parameters_keep_their_names(trained: Trained) -> None:
    net, _, _ = trained("flat")
    optimizer = torch.optim.SGD(net.named_parameters(), lr=0.1)
    new = net.hollow(net.widths)
    carried = carried_optimizer(optimizer, net, new, net.found(), appended(net.widths, net.widths))
    assert carried.param_groups[0]["param_names"] == [name for name, _ in net.named_parameters()]


def test_a_rate_in_a_tensor_is_not_shared(trained: Trained) -> None:
    net, _, _ = trained("flat")
    optimizer = torch.optim.AdamW(net.parameters(), lr=torch.tensor(0.1))
    new = net.hollow(net.widths)
    carried = carried_optimizer(optimizer, net, new, net.found(), appended(net.widths, net.widths))
    carried.param_groups[0]["lr"].fill_(9.0)
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.1)


def test_a_stranger_among_the_parameters_is_refused(trained: Trained) -> None:
    net, _, _ = trained("flat")
    stranger = nn.Parameter(torch.zeros(3, 2))
    optimizer = torch.optim.SGD([*net.parameters(), stranger], lr=0.1)
    with pytest.raises(ValueError, match=r"must belong to the network, got one of shape \(3, 2\)"):
        carried_optimizer(optimizer, net, net, net.found(), appended(net.widths, net.widths))


def test_state_of_another_shape_is_refused_by_name(trained: Trained) -> None:
    net, optimizer, _ = trained("flat")
    optimizer.state[net.get_parameter("fc.bias")]["odd"] = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"state 'odd' of 'fc.bias' must be .*, got \(2, 2\)"):
        carried_optimizer(optimizer, net, net, net.found(), appended(net.widths, net.widths))
