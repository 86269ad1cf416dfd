import json
import re
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from worker.training import checkpoint
from worker.training.checkpoint import CheckpointError, Description, load, save
from worker.training.data.normalise import Normalisation

ROOT = Path(__file__).parents[3]


def _describe(net: Backbone) -> Description:
    return Description(
        backbone=net.name,
        widths=dict(net.widths),
        in_channels=net.in_channels,
        size=net.size,
        classes=net.classes,
        class_names=tuple("0123456789"),
        dataset="digits",
        normalisation=Normalisation(mean=(0.3,), deviation=(0.4,), peak=16),
        kind="grown",
        origin="round 0",
        step=7,
        metrics={"validation_accuracy": 0.5},
        config={"backbone": net.name},
    )


def test_a_checkpoint_gives_back_the_network_and_what_was_said_of_it(
    net: Backbone, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    save(path, net, _describe(net))
    loaded, description = load(path)
    assert description == _describe(net)
    assert list(loaded.widths.items()) == list(net.widths.items())
    assert not loaded.training
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(images), net.eval()(images))


def _told(where: str) -> str:
    """Return the lines with which a document rebuilds a network, empty ones left out."""
    if where == "docstring":
        rows = (checkpoint.__doc__ or "").splitlines()
        return textwrap.dedent("\n".join(row for row in rows if row.startswith("    ")))
    blocks = re.findall(r"```python\n(import json\n.*?)```", (ROOT / where).read_text(), re.DOTALL)
    assert len(blocks) == 1
    return "\n".join(row for row in blocks[0].splitlines() if row)


@pytest.mark.parametrize("where", ["docstring", "README.md", "docs/data.md"])
def test_the_ten_lines_for_a_stranger_rebuild_the_network(
    net: Backbone, tmp_path: Path, where: str
) -> None:
    path = tmp_path / "a.safetensors"
    save(path, net, _describe(net))
    lines = _told(where)
    assert len(lines.splitlines()) == 10
    given: dict[str, Any] = {"path": path}
    exec(lines, given)  # noqa: S102 -- the very lines that people copy
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(given["net"](images), net.eval()(images))
    assert given["about"]["normalisation"]["peak"] == 16


def test_saving_leaves_one_whole_file_and_replaces_an_old_one(
    net: Backbone, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    for step in (1, 2):
        save(path, net, replace(_describe(net), step=step))
    assert load(path)[1].step == 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(net: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "full").touch()
    with pytest.raises(OSError, match="folder"):
        save(path, net, _describe(net))
    assert list(tmp_path.iterdir()) == [path]


def _broken(net: Backbone, path: Path, **changes: object) -> None:
    """Write a checkpoint whose description is not that of its tensors."""
    save(path, net, _describe(net))
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["slbi"])
    about = {name: value for name, value in (about | changes).items() if value is not None}
    save_file(dict(net.state_dict()), path, metadata={"slbi": json.dumps(about)})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": 99}, "must be of format 1, got 99"),
        ({"origin": None}, "origin missing"),
        ({"backbone": "vgg7"}, "known network.*vgg7"),
        ({"classes": 11}, "must hold the tensors of vgg11"),
        ({"widths": {"conv1": 8}}, "known network"),
        ({"surplus": 1}, "surplus surplus"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    net: Backbone, tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    path = tmp_path / "a.safetensors"
    _broken(net, path, **changes)
    with pytest.raises(CheckpointError, match=told) as refusal:
        load(path)
    assert str(path) in str(refusal.value)


def test_tensors_of_other_widths_are_refused(net: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    other = net.rebuild(Widths(dict.fromkeys(net.widths, 9)))
    save(path, other, _describe(net))
    with pytest.raises(CheckpointError, match="must hold the tensors of vgg11"):
        load(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"PK\x03\x04 no tensors here")
    with pytest.raises(CheckpointError, match="must be a safetensors file"):
        load(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="must be of format 1, got None"):
        load(path)
