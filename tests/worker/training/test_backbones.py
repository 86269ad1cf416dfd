from pathlib import Path

import pytest
import torch

from slbi.nets.sketch import cost
from slbi.nets.widths import Widths
from tests.runs import Machine, alone, expect_same
from worker.training import backbones
from worker.training.checkpoint import load
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.grow import grow
from worker.training.recorder import RunList
from worker.training.suit import suited

PUBLISHED = {
    "alexnet": (61_100_840, 714_188_480),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
}
"""Parameters and multiply-accumulates at 224 px and 1,000 classes, as torchvision's own page tells
them to two decimals (GFLOPS there are multiply-accumulates)."""


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_the_networks_of_torchvision_cost_what_is_published(name: str) -> None:
    net = backbones.build(name, in_channels=3, size=224, classes=1000, device="meta")
    assert net.cost() == PUBLISHED[name]
    assert cost(net.sketch(), net.widths, in_channels=3, size=224, classes=1000) == PUBLISHED[name]


def test_every_name_is_built_at_the_smallest_size_that_is_offered() -> None:
    for name in backbones.names():
        size = next(s for s in backbones.sizes(name) if _suits(name, s))
        net = backbones.build(name, in_channels=1, size=size, classes=3, device="meta")
        assert tuple(net.widths) == backbones.groups(name, size)
        assert net(torch.empty(2, 1, size, size, device="meta")).shape == (2, 3)


def _suits(name: str, size: int) -> bool:
    try:
        backbones.standard_widths(name, size)
    except ValueError:
        return False
    return True


def test_an_unknown_name_is_refused_with_all_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"lenet5.*resnet152, got 'lenet6'"):
        backbones.build("lenet6", in_channels=1, size=28, classes=10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "alexnet"])
def test_a_network_of_torchvision_grows_and_its_members_load(name: str, tmp_path: Path) -> None:
    settings = {
        "data": {"image_size": 64, "augment": False},
        "optim": {"batch": 256, "learning_rate": 0.005, "mu": 0.02},
        "growth": {"start": 2, "threshold": 0.01, "round_epochs": 1, "max_rounds": 2, "minimum": 2},
        "tune": {"epochs": 1, "pruned_epochs": 0},
        "compute": {"device": "cpu", "threads": 1},
    }
    recorder = RunList()
    around = Surroundings(directories=[], output=tmp_path, recorder=recorder)
    result = grow(suited("digits", name, settings), around)
    assert recorder.growth_records
    for member in result.members:
        net, description = load(member.checkpoint)
        assert dict(net.widths) == dict(member.widths)
        assert net.cost() == (member.params, member.macs)
        assert description.backbone == name


def test_narrow_ones_are_built_at_any_widths() -> None:
    widths = Widths(dict.fromkeys(backbones.groups("resnet50", 64), 3))
    net = backbones.build("resnet50", widths, in_channels=3, size=64, classes=5)
    assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 5)


DROPPING = suited(
    "digits",
    "alexnet",
    {
        "data": {"image_size": 64, "augment": False},
        "widths": 4,
        "optim": {"batch": 256, "learning_rate": 0.005, "mu": 0.05},
        "train": {"epochs": 2},
        "compute": {"device": "cpu", "threads": 1},
    },
    "train",
)
"""AlexNet has dropout, which draws from torch's own generator."""


@pytest.mark.slow
def test_the_seed_fixes_dropout_too_and_a_run_killed_between_steps_ends_the_same(
    tmp_path: Path,
) -> None:
    torch.manual_seed(1)
    unbroken = alone(DROPPING, tmp_path / "alone")
    torch.manual_seed(2)
    before = torch.get_rng_state()
    machine = Machine(DROPPING, tmp_path / "machine")
    found = machine.dying_between_steps(0, longest=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert machine.attempts > 2
    expect_same(machine, found, unbroken)
