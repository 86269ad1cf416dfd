import pytest
import torch

from slbi.nets import backbones
from slbi.nets.widths import Widths


def test_the_names_are_those_promised() -> None:
    vggs = {f"vgg{depth}" for depth in (11, 13, 16, 19)}
    resnets = {f"resnet{depth}" for depth in (20, 32, 44, 56, 110)}
    assert set(backbones.names()) == {"lenet5"} | vggs | resnets


def test_an_unknown_name_is_refused_with_the_known() -> None:
    with pytest.raises(ValueError, match=r"backbone must be one of lenet5, .*, got 'alexnet'"):
        backbones.build("alexnet", in_channels=3, size=32, classes=10)


@pytest.mark.parametrize(
    ("name", "size"), [("lenet5", 30), ("vgg11", 7), ("vgg19", 1), ("resnet20", 7)]
)
def test_an_unsuitable_size_is_refused_with_the_reason(name: str, size: int) -> None:
    with pytest.raises(ValueError, match=rf"size must be .* px for {name}, .*, got {size}"):
        backbones.standard_widths(name, size)
    with pytest.raises(ValueError, match="size must be"):
        backbones.build(name, None, in_channels=1, size=size, classes=10)


def test_widths_of_other_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="must name the groups conv1, conv2, conv3, fc1, got stem"):
        backbones.build("lenet5", Widths({"stem": 8}), in_channels=1, size=28, classes=10)


@pytest.mark.parametrize("what", ["in_channels", "classes"])
def test_a_number_below_one_is_refused(what: str) -> None:
    channels, classes = (0, 10) if what == "in_channels" else (3, 0)
    with pytest.raises(ValueError, match=f"{what} must be >= 1, got 0"):
        backbones.build("vgg11", in_channels=channels, size=32, classes=classes)


@pytest.mark.parametrize("name", backbones.names())
def test_a_seed_gives_the_same_weights_again(name: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        widths = Widths(dict.fromkeys(backbones.groups(name, 28), 8))
        generator = torch.Generator().manual_seed(seed)
        net = backbones.build(name, widths, in_channels=3, size=28, classes=3, generator=generator)
        return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_building_with_a_generator_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    backbones.build("vgg11", in_channels=3, size=8, classes=3, generator=torch.Generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_generator_the_global_seed_decides() -> None:
    def stem() -> torch.Tensor:
        torch.manual_seed(4)
        net = backbones.build("resnet20", in_channels=3, size=8, classes=3)
        return net.get_parameter("stem_conv.weight")

    assert torch.equal(stem(), stem())


@pytest.mark.parametrize("name", backbones.names())
@pytest.mark.parametrize("channels", [1, 3])
def test_standard_networks_tell_classes_from_images(name: str, channels: int) -> None:
    net = backbones.build(name, in_channels=channels, size=32, classes=7, device="meta")
    images = torch.empty(2, channels, 32, 32, device="meta")
    assert net(images).shape == (2, 7)


def test_standard_networks_have_the_published_parameters() -> None:
    """LeNet-5 with full tables 61,706; He et al. table 6: ResNet-20 0.27 M, 110 1.7 M."""
    params = {
        name: backbones.build(name, in_channels=channels, size=32, classes=10, device="meta").cost()
        for name, channels in (("lenet5", 1), ("resnet20", 3), ("resnet110", 3))
    }
    assert params["lenet5"][0] == 61_706
    assert round(params["resnet20"][0] / 1e6, 2) == 0.27
    assert round(params["resnet110"][0] / 1e6, 1) == 1.7


def test_filters_start_at_one_norm_whatever_the_widths() -> None:
    generator = torch.Generator().manual_seed(0)
    net = backbones.build("vgg11", in_channels=3, size=32, classes=10, generator=generator)
    for name, weight in net.named_parameters():
        if weight.ndim == 4:
            norm = weight.detach().flatten(1).norm(dim=1).mean()
            assert norm == pytest.approx(2**0.5, rel=0.05), name
