import pytest
import torch

from slbi.nets import backbones
from slbi.nets.widths import Widths


def _meta(name: str) -> tuple[torch.nn.Module, Widths, dict[str, list[tuple[str, int]]]]:
    """Return a network whose every group has a width of its own, and its ties by tensor."""
    groups = backbones.groups(name, 32)
    widths = Widths({group: 101 + i for i, group in enumerate(groups)})
    net = backbones.build(name, widths, in_channels=3, size=32, classes=10, device="meta")
    ties = {
        tensor: [(group, tie.axis) for group, tie in tied]
        for tensor, tied in net.coupling().by_tensor().items()
    }
    return net, widths, ties


@pytest.mark.parametrize("name", backbones.names())
def test_every_axis_as_long_as_a_group_is_tied_to_it_and_no_other(name: str) -> None:
    net, widths, ties = _meta(name)
    group_of = {width: group for group, width in widths.items()}
    for tensor, value in net.state_dict().items():
        if tensor.endswith("shortcut.source"):
            continue
        expected = {
            (group_of[length], axis)
            for axis, length in enumerate(value.shape)
            if length in group_of
        }
        assert set(ties.get(tensor, [])) == expected, tensor


@pytest.mark.parametrize("name", backbones.names())
def test_every_reader_can_absorb_a_constant_of_its_own_length(name: str) -> None:
    net = backbones.build(name, in_channels=3, size=32, classes=10, device="meta")
    state = net.state_dict()
    for group in net.coupling().groups:
        readers = [tie for tie in group.ties if tie.role == "reader"]
        assert readers
        for tie in readers:
            assert tie.absorber is not None
            assert state[tie.absorber].shape == state[tie.tensor].shape[:1]


@pytest.mark.parametrize("name", [n for n in backbones.names() if n.startswith("resnet")])
def test_routes_lead_from_each_stage_into_the_next(name: str) -> None:
    net = backbones.build(name, in_channels=3, size=32, classes=10, device="meta")
    routes = net.coupling().routes
    assert [(r.source, r.target) for r in routes] == [("stage1", "stage2"), ("stage2", "stage3")]
    state = net.state_dict()
    for route in routes:
        assert len(state[route.buffer]) == net.widths[route.target]
        assert route.absorber is not None
        assert len(state[route.absorber]) == net.widths[route.target]


def test_an_unknown_group_is_refused_with_the_known() -> None:
    net = backbones.build("lenet5", in_channels=1, size=28, classes=10, device="meta")
    with pytest.raises(KeyError, match="no group 'fc9'; there are conv1, conv2, conv3, fc1"):
        net.coupling().group("fc9")
