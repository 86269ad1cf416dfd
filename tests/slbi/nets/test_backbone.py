import torch

from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths


def _net(dtype: torch.dtype = torch.float32) -> Backbone:
    widths = Widths(dict.fromkeys(backbones.groups("resnet20", 8), 8))
    return backbones.build("resnet20", widths, in_channels=2, size=8, classes=4, dtype=dtype)


def test_rebuilding_keeps_the_spec_and_the_dtype() -> None:
    net = _net(torch.float64)
    widths = net.widths.replaced({"stage2": 12})
    rebuilt = net.rebuild(widths, generator=torch.Generator().manual_seed(0))
    assert (rebuilt.name, rebuilt.in_channels, rebuilt.size, rebuilt.classes) == (
        "resnet20", 2, 8, 4,
    )  # fmt: skip
    assert rebuilt.widths == widths
    assert {parameter.dtype for parameter in rebuilt.parameters()} == {torch.float64}


def test_rebuilding_gives_what_building_gives() -> None:
    net = _net()
    generator = torch.Generator().manual_seed(3)
    built = backbones.build(
        "resnet20", net.widths, in_channels=2, size=8, classes=4, generator=generator
    )
    rebuilt = net.rebuild(net.widths, generator=torch.Generator().manual_seed(3))
    for name, tensor in built.state_dict().items():
        assert torch.equal(tensor, rebuilt.state_dict()[name]), name


def test_a_hollow_network_says_nothing() -> None:
    net = _net()
    hollow = net.hollow(net.widths).eval()
    assert not hollow(torch.ones(1, 2, 8, 8)).any()
    assert all((source == -1).all() for name, source in hollow.named_buffers() if "source" in name)


def test_widths_are_put_in_the_order_of_the_data() -> None:
    names = backbones.groups("vgg11", 8)
    widths = Widths(dict.fromkeys(reversed(names), 8))
    net = backbones.build("vgg11", widths, in_channels=3, size=8, classes=4, device="meta")
    assert tuple(net.widths) == names
