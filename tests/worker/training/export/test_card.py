"""What a card says is so, and the code that it shows runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.runs import Alone, alone
from worker.training.checkpoint import load
from worker.training.config import ComputeConfig, DataConfig, GrowConfig, GrowthConfig, TuneConfig
from worker.training.plans import ExportConfig, FormatsConfig, Source
from worker.training.recorder import ModelRecord


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    config = GrowConfig(
        backbone="vgg11",
        data=DataConfig(dataset="digits"),
        growth=GrowthConfig(start=4, round_epochs=2, max_rounds=2, threshold=0.05),
        tune=TuneConfig(epochs=1, pruned_epochs=0),
        compute=ComputeConfig(device="cpu", threads=1),
    )
    return alone(config, tmp_path_factory.mktemp("grown"))


def _exported(grown: Alone, member: ModelRecord, output: Path, *formats: str) -> str:
    """Export a member; return its card."""
    config = ExportConfig(
        source=Source(checkpoint=member.checkpoint, path=grown.path, test_accuracy=0.875),
        backbone="vgg11",
        data=grown.config.data,
        export=FormatsConfig(formats=formats, check=False),
        compute=grown.config.compute,
    )
    made = alone(config, output / "made")
    for record in made.path.file_records:
        shutil.copy(record.path, output / record.title)
    return (output / "card.md").read_text()


def _section(card: str, name: str) -> str:
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.slow
def test_the_code_that_a_card_shows_loads_every_format_and_predicts_the_same(
    grown: Alone, tmp_path: Path
) -> None:
    member = grown.path.model_records[-1]
    card = _exported(grown, member, tmp_path, "onnx", "pt2", "torch")
    pixels = np.random.default_rng(0).integers(0, 17, (3, 1, 8, 8))
    np.save(tmp_path / "pixels.npy", pixels)
    prepare, *loads = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(loads) == 3
    lines = ["import numpy", "pixels = numpy.load('pixels.npy')", prepare]
    for number, block in enumerate(loads):
        lines += [block, f"numpy.save('logits{number}.npy', numpy.asarray(logits.detach() "]
        lines[-1] += "if hasattr(logits, 'detach') else logits))"

    environment = {key: os.environ[key] for key in os.environ if key != "PYTHONPATH"}
    alone_with = "import sys; sys.modules.update(dict.fromkeys(('slbi', 'torchvision')))\n"
    code = alone_with + "\n".join(lines)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)

    net, about = load(member.checkpoint)
    images = about.normalisation.apply(torch.from_numpy(pixels.astype("uint8")))
    logits = net(images).detach()
    for number in range(3):
        found = torch.from_numpy(np.load(tmp_path / f"logits{number}.npy"))
        assert (found - logits).abs().max() <= 1e-4 * logits.abs().max()


def test_a_card_tells_data_metrics_cost_and_widths_of_the_member(
    grown: Alone, tmp_path: Path
) -> None:
    member = grown.path.model_records[-1]
    card = _exported(grown, member, tmp_path, "card")

    data, metrics, network = (_section(card, name) for name in ("Data", "Metrics", "Network"))
    assert "Licence of the data: CC BY 4.0" in data
    assert "a share of 0.1 of the 1438 training images" in data
    assert f"| validation accuracy | {member.validation_accuracy:.4f}, by which" in metrics
    assert "| test accuracy | 0.8750, read once" in metrics
    assert f"| parameters | {member.params} |" in network
    assert f"| MACs of one image | {member.macs} |" in network
    assert all(f"{group} {width}" in network for group, width in member.widths.items())
    assert re.search(r"latency of one image \| [0-9.]+ ms, median, 1 thread\(s\) of torch", network)


def test_a_card_tells_what_was_widened_before_the_member_and_nothing_later(
    grown: Alone, tmp_path: Path
) -> None:
    first, last = grown.path.model_records[0], grown.path.model_records[-1]
    rows = [
        f"| {row.round} | {row.step} | conv1 | {row.before} | {row.after} | {row.reason} |"
        for row in grown.path.growth_records
        if row.layer == 0
    ]
    assert rows
    assert (first.origin, last.origin) == ("round 0", "round 1, tuned")

    (tmp_path / "first").mkdir()
    (tmp_path / "last").mkdir()
    early = _section(_exported(grown, first, tmp_path / "first", "card"), "Path")
    late = _section(_exported(grown, last, tmp_path / "last", "card"), "Path")

    assert "Rounds of growth: 1. No layer was widened." in early
    assert "Rounds of growth: 2." in late
    assert rows[0] in late


def test_an_accuracy_that_nobody_read_is_not_told(grown: Alone, tmp_path: Path) -> None:
    config = ExportConfig(
        source=Source(checkpoint=grown.path.model_records[-1].checkpoint),
        backbone="vgg11",
        data=grown.config.data,
        export=FormatsConfig(formats=["card"], check=False),
        compute=grown.config.compute,
    )
    card = alone(config, tmp_path).file("card.md").read_text()
    assert "| test accuracy | not read |" in card
    assert "Unknown: the path of the run that made it did not come with it." in card
