import random

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from service.catalogue import Catalogue
from service.estimate import cost, rate, training_macs
from slbi.nets import backbones as ours
from slbi.nets.widths import Widths
from worker.training import backbones
from worker.training.classifiers import Torchvision

FAMILIES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "regnet_y_400mf", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "squeezenet1_0", "swin_v2_t", "vgg11_imagenet", "vit_b_16",
)  # fmt: skip
"""One of each way in which torchvision's networks are made."""


def _draw(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311 -- no secret, only any widths


def expect_what_torch_counts(catalogue: Catalogue, name: str, stem: str, size: int) -> None:
    """Compare the forecast with the network itself, at widths drawn by its name."""
    draw = _draw(f"{name} {stem} {size}")
    standard = catalogue.backbones[name].standard_widths
    widths = {group: draw.randint(1, 12) for group in standard}
    channels, classes = draw.randint(1, 4), draw.randint(2, 20)
    net = backbones.build(
        name,
        Widths(widths),
        in_channels=channels,
        size=size,
        classes=classes,
        stem=stem,
        device="meta",
    ).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(1, channels, size, size, device="meta"))
    outline = catalogue.backbones[name].stems[stem].outline
    found = cost(outline, widths, channels=channels, size=size, classes=classes)
    assert found.params == sum(parameter.numel() for parameter in net.parameters())
    assert 2 * found.macs == counter.get_total_flops()
    assert (found.params, found.macs) == net.cost()


@pytest.mark.parametrize("name", ours.names())
def test_a_networks_cost_is_what_torch_counts(name: str, catalogue: Catalogue) -> None:
    stem = catalogue.backbones[name].stems["standard"]
    for size in stem.only or [stem.smallest, 9, 28, 33]:
        expect_what_torch_counts(catalogue, name, "standard", size)


@pytest.mark.parametrize("name", FAMILIES)
def test_so_is_that_of_each_family_of_torchvision(name: str, catalogue: Catalogue) -> None:
    stem = catalogue.backbones[name].stems["small"]
    sizes = stem.only or [stem.smallest]
    expect_what_torch_counts(catalogue, name, "small", _draw(name).choice(sizes))


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["standard", "small"])
@pytest.mark.parametrize("name", Torchvision.names())
def test_so_is_that_of_every_network_with_both_stems(
    name: str, stem: str, catalogue: Catalogue
) -> None:
    found = catalogue.backbones[name].stems[stem]
    sizes = found.only or [found.smallest]
    expect_what_torch_counts(catalogue, name, stem, _draw(name).choice(sizes))


def test_memory_grows_with_the_batch(catalogue: Catalogue) -> None:
    backbone = catalogue.backbones["vgg11"]
    outline = backbone.stems["standard"].outline
    found = cost(outline, backbone.standard_widths, channels=3, size=32, classes=10)
    assert found.memory_bytes(1) > 4 * found.params
    step = found.memory_bytes(2) - found.memory_bytes(1)
    assert found.memory_bytes(128) == found.memory_bytes(1) + 127 * step


def test_the_rate_is_the_median_so_that_one_slow_epoch_does_not_count() -> None:
    assert rate([]) is None
    assert rate([(100, 1.0), (100, 1.0), (100, 1000.0)]) == 100


def test_training_costs_three_times_the_forward_pass() -> None:
    assert training_macs(1000, 60) == 180_000
