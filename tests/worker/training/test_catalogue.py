import json
from pathlib import Path

import pytest

from worker.training import backbones
from worker.training.catalogue import TARGET, main, render
from worker.training.data.formats import read_digits
from worker.training.data.sources import SOURCES
from worker.training.suit import suited

ROOT = Path(__file__).parents[3]


def test_the_committed_catalogue_is_the_generated_one() -> None:
    assert (ROOT / TARGET).read_text(encoding="utf-8") == render()


def test_the_catalogue_is_written_and_checked(tmp_path: Path) -> None:
    target = tmp_path / "catalogue.json"
    assert main(["--target", str(target)]) == 0
    assert main(["--target", str(target), "--check"]) == 0
    target.write_text("{}")
    assert main(["--target", str(target), "--check"]) == 1


def test_every_backbone_and_data_set_stands_in_it() -> None:
    found = json.loads(render())
    assert tuple(found["backbones"]) == backbones.names()
    assert tuple(found["datasets"]) == tuple(SOURCES)
    assert found["backbones"]["lenet5"]["sizes"]["only"] == [28, 32]
    assert found["backbones"]["vgg11"]["sizes"] == {"min": 8, "max": 224, "only": None}
    assert found["datasets"]["digits"]["train"] == len(read_digits("train"))


@pytest.mark.parametrize("name", [*SOURCES, "a-folder"])
def test_the_defaults_of_every_data_set_make_a_valid_config(name: str) -> None:
    assert suited(name, "vgg11", {}).data.dataset == name
