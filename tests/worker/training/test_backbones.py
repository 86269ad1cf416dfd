import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torchvision import models

from slbi.nets import backbones as ours
from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from tests.runs import Machine, alone, expect_same
from worker.training import backbones
from worker.training.checkpoint import load
from worker.training.kinds import run
from worker.training.plans import Source
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.grow import grow
from worker.training.recipes.result import Result
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


SHORT: dict[str, dict[str, Any]] = {
    "optim": {"batch": 256, "learning_rate": 0.02, "mu": 0.05},
    "compute": {"device": "cpu", "threads": 1},
    "data": {"image_size": 28, "augment": False},
}
"""Settings of a run on digits that takes seconds."""


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_the_networks_of_torchvision_cost_what_is_published(name: str) -> None:
    net = backbones.build(name, in_channels=3, size=224, classes=1000, device="meta")
    assert net.cost() == PUBLISHED[name]


def test_every_classifier_of_torchvision_has_a_name_and_ours_win() -> None:
    theirs = models.list_models(module=models)
    clashes = set(theirs) & set(ours.names())
    assert clashes
    assert set(backbones.names()) - set(ours.names()) == {
        f"{name}_imagenet" if name in clashes else name for name in theirs
    }
    net = backbones.build("vgg11_imagenet", in_channels=3, size=224, classes=1000, device="meta")
    assert net.cost()[0] == 132_863_336  # as torchvision's page says
    assert backbones.stems("vgg11") == ("standard",)


def test_ours_are_built_at_the_smallest_size_that_is_offered() -> None:
    for name in ours.names():
        size = backbones.sizes(name)[0]
        net = backbones.build(name, in_channels=1, size=size, classes=3, device="meta")
        assert tuple(net.widths) == backbones.groups(name, size)
        assert net(torch.empty(2, 1, size, size, device="meta")).shape == (2, 3)


def test_an_unknown_name_is_refused_with_all_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"lenet5.*resnet152.*wide_resnet.*, got 'lenet6'"):
        backbones.build("lenet6", in_channels=1, size=28, classes=10)


def test_a_stem_that_a_network_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="stem of vgg11 must be auto or standard, got 'small'"):
        backbones.build("vgg11", in_channels=1, size=28, classes=10, stem="small")


def test_the_small_stem_of_a_resnet_is_that_for_cifar() -> None:
    net = backbones.build(
        "resnet18", in_channels=3, size=32, classes=10, stem="auto", device="meta"
    )
    assert net.stem == "small"
    conv = net.get_submodule("net.conv1")
    assert isinstance(conv, torch.nn.Conv2d)
    assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
    assert isinstance(net.get_submodule("net.maxpool"), torch.nn.Identity)
    # 0.56 G multiply-accumulates: what implementations for CIFAR count of their ResNet-18.
    assert round(net.cost()[1] / 1e9, 2) == 0.56


def test_the_small_stem_of_a_mobilenet_has_two_strides_less() -> None:
    net = backbones.build("mobilenet_v2", in_channels=3, size=32, classes=10, stem="small")
    strides = [m.stride[0] for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [stride for stride in strides if stride > 1] == [2, 2, 2]
    assert net.get_parameter("net.features.0.0.weight").shape == (32, 3, 3, 3)


def test_the_small_stem_of_a_vision_transformer_has_patches_of_a_quarter() -> None:
    net = backbones.build(
        "vit_b_16", in_channels=1, size=28, classes=10, stem="small", device="meta"
    )
    assert net.get_parameter("net.conv_proj.weight").shape == (768, 1, 4, 4)
    assert net.get_parameter("net.encoder.pos_embedding").shape == (1, 50, 768)


@pytest.mark.parametrize("name", ["googlenet", "swin_v2_t", "vit_b_32"])
def test_the_same_seed_gives_the_same_network_whatever_torch_has_drawn(name: str) -> None:
    size = backbones.sizes(name, "small")[0]
    groups = backbones.groups(name, size, "small")

    def built() -> Backbone:
        torch.rand(3)
        return backbones.build(
            name,
            Widths(dict.fromkeys(groups, 4)),
            in_channels=1,
            size=size,
            classes=10,
            stem="small",
            generator=torch.Generator().manual_seed(5),
        ).eval()

    one, other = built(), built()
    for key, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[key])
        assert bool(tensor.isfinite().all())
    images = torch.randn(2, 1, size, size)
    with torch.no_grad():
        assert torch.equal(one(images), other(images))
        assert bool(one(images).isfinite().all())


def test_a_checkpoint_of_before_there_were_stems_has_the_standard_one(tmp_path: Path) -> None:
    result = _run("mobilenet_v2", "train", tmp_path, widths=4, train={"epochs": 1})
    path = result.members[0].checkpoint
    net, description = load(path)
    assert (net.stem, description.stem) == ("small", "small")
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["slbi"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- no mapping
    del about["stem"]
    old = tmp_path / "old.safetensors"
    save_file(tensors, old, metadata={"slbi": json.dumps(about)})
    before, told = load(old)
    assert (before.stem, told.stem) == ("standard", "standard")


def _run(name: str, kind: str, output: Path, **settings: Any) -> Result:  # noqa: ANN401 -- settings
    asked = {section: {**values, **settings.pop(section, {})} for section, values in SHORT.items()}
    if kind == "visualise":
        del asked["optim"]
    around = Surroundings(directories=[], output=output, recorder=RunList())
    return run(suited("digits", name, asked | settings, kind), around)


@pytest.mark.slow
def test_a_network_of_torchvision_goes_through_every_kind_of_run(tmp_path: Path) -> None:
    name, twin = "mobilenet_v2", {"structure": "filter"}
    trained = _run(name, "train", tmp_path / "train", widths=4, twin=twin, train={"epochs": 1})
    source = Source(checkpoint=trained.members[0].checkpoint)
    pruned = _run(
        name,
        "prune",
        tmp_path / "prune",
        source=source,
        pruning={"percent": 50, "order": "norm"},
        finetune={"epochs": 1},
    )
    net, _ = load(pruned.members[-1].checkpoint)
    assert max(net.widths.values()) == 2
    once = {"widths": 4, "train": {"epochs": 1}}
    assert _run(name, "weights", tmp_path / "weights", **once, finetune={"epochs": 1}).members
    ticket = {**once, "mask": {"epoch": 1}, "retrain": {"epochs": 1}, "rivals": ()}
    assert _run(name, "ticket", tmp_path / "ticket", **ticket).members
    pictures = {"layers": ["net.features.0.0", "net.classifier.1"], "steps": 2, "filters": 2}
    _run(name, "visualise", tmp_path / "pictures", source=source, pictures=pictures)
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 4


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
