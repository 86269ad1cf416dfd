"""Filters known to be dead are found, and those known to be alive are not."""

import pytest
import torch
from torch import Tensor, nn

from bench.health.dead import Layer, Spread, layers, reading
from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.graph.find import find
from slbi.nets.widths import Widths

SHAPE = (1, 8, 8)


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    with torch.no_grad():
        net.get_parameter("3.bias").fill_(2.0)  # no filter of the second layer is dead by chance
    return net


def images(count: int = 3) -> list[Tensor]:
    drawn = torch.Generator().manual_seed(1)
    return [torch.randn(16, *SHAPE, generator=drawn) for _ in range(count)]


def looked_at(net: nn.Module) -> dict[str, Layer]:
    return {layer.name: layer for layer in layers(net, find(net, SHAPE), images())}


def test_a_network_that_lives_has_no_dead_filter() -> None:
    found = looked_at(tiny())
    assert [(name, each.filters, each.dead) for name, each in found.items()] == [
        ("0.weight", 4, 0),
        ("3.weight", 4, 0),
    ]


@torch.no_grad()
def test_a_filter_that_its_activation_cuts_off_everywhere_is_constant() -> None:
    net = tiny()
    net.get_parameter("1.bias")[2] = -100.0
    found = looked_at(net)
    assert found["0.weight"].constant == (2,)
    assert found["0.weight"].unread == ()
    assert found["3.weight"].dead == 0


@torch.no_grad()
@pytest.mark.parametrize("height", [0.0, 3.0])
def test_a_filter_of_one_value_for_all_images_is_constant_at_any_height(height: float) -> None:
    net = tiny()
    net.get_parameter("3.weight")[1] = 0.0
    net.get_parameter("3.bias")[1] = height
    assert looked_at(net)["3.weight"].constant == (1,)


@torch.no_grad()
def test_a_filter_is_alive_if_one_image_of_all_batches_moves_it_at_one_position() -> None:
    net = tiny()
    net.get_parameter("3.weight")[1] = 0.0
    net.get_parameter("3.weight")[1, 0, 1, 1] = 1.0
    net.get_parameter("3.bias")[1] = -4.0
    found = find(net, SHAPE)
    still = torch.zeros(16, *SHAPE)
    moved = still.clone()
    moved[3, :, 2, 2] = 100.0
    (_, layer) = layers(net, found, [still, still])
    assert 1 in layer.constant
    (_, layer) = layers(net, found, [still, moved, still])
    assert 1 not in layer.constant


@torch.no_grad()
def test_a_filter_that_nothing_reads_is_dead_and_one_that_is_hardly_read_is_not() -> None:
    net = tiny()
    net.get_parameter("3.weight")[:, 0] = 0.0
    net.get_parameter("7.weight")[:, 3] = 1e-7
    net.get_parameter("7.weight")[:, 2] = 1e-5
    found = looked_at(net)
    assert found["0.weight"].unread == (0,)
    assert found["3.weight"].unread == (3,)
    assert found["0.weight"].constant == ()
    assert found["0.weight"].dead == found["3.weight"].dead == 1


def resnet() -> Backbone:
    return backbones.build(
        "resnet20",
        Widths(dict.fromkeys(backbones.groups("resnet20", 8), 4)),
        in_channels=1,
        size=8,
        classes=10,
        generator=torch.Generator().manual_seed(0),
    )


@torch.no_grad()
def test_a_layer_that_adds_nothing_to_a_stream_is_dead_though_the_stream_lives() -> None:
    net = resnet()
    found = net.found()
    assert {layer.dead for layer in layers(net, found, images())} == {0}
    net.get_parameter("stages.stage1.block2.norm2.weight")[1] = 0.0
    dead = {layer.name: layer.constant for layer in layers(net, found, images()) if layer.dead}
    assert dead == {"stages.stage1.block2.conv2.weight": (1,)}


@torch.no_grad()
def test_a_padding_shortcut_reads_what_is_read_where_it_leads() -> None:
    net = resnet()
    found = net.found()
    for tie in found.coupling.group("stage1").ties:
        if tie.role == "reader":
            net.get_parameter(tie.tensor)[:, :2] = 0.0
    assert (reading(net, found)["stage1"] > 0).all()
    for stage in ("stage2", "stage3"):
        for tie in found.coupling.group(stage).ties:
            if tie.role == "reader":
                net.get_parameter(tie.tensor)[:, 0] = 0.0
    assert (reading(net, found)["stage1"] > 0).tolist() == [False, True, True, True]


def test_without_an_image_nothing_can_be_said() -> None:
    with pytest.raises(ValueError, match="must have seen an image"):
        Spread().constant()
