import pytest
import torch

from slbi.nets import backbones
from slbi.nets.backbone import Backbone
from slbi.nets.coupling import Coupling
from slbi.nets.widths import Widths
from tests.slbi.nets import declared

_DECLARED: dict[str, Coupling] = {
    "lenet5": declared.lenet(),
    **{f"vgg{depth}": declared.vgg(depth - 3) for depth in (11, 13, 16, 19)},
    **{f"resnet{6 * n + 2}": declared.resnet(n) for n in (3, 5, 7, 9, 18)},
}
"""VGG counts its three published linear layers too."""


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


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("name", backbones.names())
def test_the_coupling_found_is_the_one_written_down_by_hand(name: str, in_channels: int) -> None:
    size = 28 if name == "lenet5" else 32
    net = backbones.build(name, in_channels=in_channels, size=size, classes=10, device="meta")
    found, expected = net.coupling(), _DECLARED[name]
    assert [group.name for group in found.groups] == [group.name for group in expected.groups]
    for group, other in zip(found.groups, expected.groups, strict=True):
        assert (group.kind, group.blended) == (other.kind, None)
        assert set(group.ties) == set(other.ties), group.name
    assert found.routes == expected.routes
    assert {fixed.reason for fixed in found.fixed} == {"input", "output"}


def test_what_is_found_follows_surgery() -> None:
    net = _net()
    wider = net.widths.replaced({"stage1": 9, "stage2.block1": 12})
    net.adopt(net.found().resized(wider))
    assert net.widths == net.found().widths == wider
