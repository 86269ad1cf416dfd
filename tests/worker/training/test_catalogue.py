import json
from pathlib import Path

import pytest

from slbi.nets import backbones as ours
from worker.training import backbones
from worker.training.catalogue import TARGET, backbone, facts, line, main
from worker.training.data.formats import read_digits
from worker.training.data.sources import SOURCES
from worker.training.suit import suited

ROOT = Path(__file__).parents[3]


COMMITTED = (ROOT / TARGET).read_text(encoding="utf-8")

QUICK = (
    *ours.names(), "alexnet", "resnet18", "squeezenet1_1", "shufflenet_v2_x0_5", "googlenet",
    "mobilenet_v3_small", "vgg11_imagenet", "convnext_tiny", "swin_t", "vit_b_32",
)  # fmt: skip
"""Networks whose part of the file is made again in seconds."""


@pytest.mark.parametrize("name", QUICK)
def test_the_committed_line_of_a_network_is_the_generated_one(name: str) -> None:
    assert f"    {json.dumps(name)}: {line(backbone(name))}" in COMMITTED


def test_the_rest_of_the_committed_catalogue_is_the_generated_one() -> None:
    committed = json.loads(COMMITTED)
    committed.pop("backbones")
    assert committed == json.loads(json.dumps(facts()))


@pytest.mark.slow
def test_the_committed_catalogue_is_the_generated_one(tmp_path: Path) -> None:
    assert main(["--target", str(ROOT / TARGET), "--check"]) == 0
    other = tmp_path / "catalogue.json"
    other.write_text("{}")
    assert main(["--target", str(other), "--check"]) == 1


def test_every_backbone_and_data_set_stands_in_it() -> None:
    found = json.loads(COMMITTED)
    assert tuple(found["backbones"]) == backbones.names()
    assert tuple(found["datasets"]) == tuple(SOURCES)
    lenet, vgg = (found["backbones"][name]["stems"] for name in ("lenet5", "vgg11"))
    assert lenet["standard"]["sizes"]["only"] == [28, 32]
    assert vgg["standard"]["sizes"] == {"min": 8, "max": 224, "only": None}
    assert found["datasets"]["digits"]["train"] == len(read_digits("train"))


@pytest.mark.parametrize("name", [*SOURCES, "a-folder"])
def test_the_defaults_of_every_data_set_make_a_valid_config(name: str) -> None:
    assert suited(name, "vgg11", {}).data.dataset == name
