"""Every format is written and run, ONNX also where onnxruntime is not installed."""

from pathlib import Path

import pytest
import torch

from slbi.export.program import exported
from slbi.nets.backbone import Backbone
from slbi.nets.backbones import build, standard_widths
from slbi.nets.widths import Widths
from worker.training.export.check import TOLERANCE, largest_difference
from worker.training.export.formats import FORMATS, run_by_reference
from worker.training.plans import EXPORTS

IMAGES = torch.randn(7, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def net() -> Backbone:
    widths = Widths(dict.fromkeys(standard_widths("resnet20", 16), 4))
    return build("resnet20", widths, in_channels=3, size=16, classes=5).eval()


def test_every_format_that_can_be_asked_for_is_one_of_these_or_the_card() -> None:
    assert set(EXPORTS) == {*FORMATS, "card"}


@pytest.mark.parametrize("name", FORMATS)
@torch.no_grad()
def test_the_written_file_is_run_and_predicts_what_its_network_predicts(
    name: str, net: Backbone, tmp_path: Path
) -> None:
    form = FORMATS[name]
    form.write(exported(net, (3, 16, 16)), tmp_path / form.title)

    runner, predict = form.run(tmp_path / form.title)

    assert {"onnx": "onnxruntime", "pt2": "torch", "torch": "load.py"}[name] in runner
    assert largest_difference(predict, net, IMAGES) <= TOLERANCE


@torch.no_grad()
def test_without_onnxruntime_the_evaluator_of_onnx_runs_the_file(
    net: Backbone, tmp_path: Path
) -> None:
    FORMATS["onnx"].write(exported(net, (3, 16, 16)), tmp_path / "model.onnx")

    runner, predict = run_by_reference(tmp_path / "model.onnx")

    assert runner.startswith("the reference evaluator of onnx")
    assert largest_difference(predict, net, IMAGES) <= TOLERANCE
