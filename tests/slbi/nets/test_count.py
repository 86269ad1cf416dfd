import torch
from torch import nn

from slbi.nets import backbones
from slbi.nets.count import count


def test_layers_are_counted_as_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, groups=1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(128, 5)
    )
    assert count(net, (3, 4, 4)) == (3 * 9 * 8 + 8 + 16 + 128 * 5 + 5, 16 * 3 * 9 * 8 + 128 * 5)


def test_a_backbones_own_cost_is_the_same() -> None:
    for name, size in (("lenet5", 28), ("vgg11", 32), ("resnet20", 32)):
        net = backbones.build(name, in_channels=3, size=size, classes=10, device="meta")
        assert count(net, (3, size, size)) == net.cost()


def test_the_network_is_left_as_it_is() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    count(net, (3, 4, 4))
    assert net.training
    assert {parameter.device for parameter in net.parameters()} == {torch.device("cpu")}
