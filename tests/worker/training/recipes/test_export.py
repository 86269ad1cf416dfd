"""A finished network is handed over in files that predict what it predicts, or not at all."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from slbi.export.load import load as load_network
from tests.runs import Alone, alone
from worker.training.checkpoint import CheckpointError, load
from worker.training.config import ComputeConfig, DataConfig, GrowConfig, GrowthConfig, TuneConfig
from worker.training.epoch import Stopped
from worker.training.kinds import run
from worker.training.plans import ExportConfig, FormatsConfig, Source
from worker.training.recipes.conduct import Surroundings
from worker.training.recorder import RunList


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    config = GrowConfig(
        backbone="vgg11",
        data=DataConfig(dataset="digits"),
        growth=GrowthConfig(start=4, round_epochs=2, max_rounds=2, threshold=0.05),
        tune=TuneConfig(epochs=1, pruned_epochs=0),
        compute=ComputeConfig(device="cpu", threads=1),
    )
    return alone(config, tmp_path_factory.mktemp("grown"))


def _config(source: Alone, *formats: str, check: bool = True, told: bool = True) -> ExportConfig:
    return ExportConfig(
        source=Source(
            checkpoint=source.path.model_records[-1].checkpoint,
            path=source.path if told else None,
            test_accuracy=0.875 if told else None,
        ),
        backbone="vgg11",
        data=source.config.data,
        export=FormatsConfig(formats=formats or None, check=check),
        compute=source.config.compute,
    )


def _files(made: Alone) -> dict[str, Path]:
    return {record.title: record.path for record in made.path.file_records}


def test_every_format_is_written_checked_and_told_of(tmp_path: Path, source: Alone) -> None:
    made = alone(_config(source), tmp_path)

    records = {each.title: (each.kind, each.format) for each in made.path.file_records}
    assert records == {
        "model.onnx": ("export", "onnx"),
        "model.pt2": ("export", "pt2"),
        "model.zip": ("export", "zip"),
        "card.md": ("card", "md"),
    }
    assert made.path.found is not None
    exports = {each["format"]: each for each in made.path.found["exports"]}
    assert list(exports) == ["onnx", "pt2", "torch"]
    assert exports["onnx"]["difference"] <= 1e-4
    assert "onnxruntime" in exports["onnx"]["checked_by"]
    assert exports["pt2"]["difference"] == exports["torch"]["difference"] == 0.0
    assert exports["torch"]["bytes"] == _files(made)["model.zip"].stat().st_size
    told = [(each.epoch, each.epochs, each.phase) for each in made.path.progress_records]
    assert told == [(1, 3, "export"), (2, 3, "export"), (3, 3, "export")]


def test_what_is_in_the_archive_predicts_as_the_checkpoint_does(
    tmp_path: Path, source: Alone
) -> None:
    made = alone(_config(source, "torch"), tmp_path)

    net, _ = load(source.path.model_records[-1].checkpoint)
    zipfile.ZipFile(_files(made)["model.zip"]).extractall(tmp_path / "model")
    images = torch.randn(3, 1, 8, 8)
    assert torch.equal(load_network(tmp_path / "model")(images), net(images))
    assert set(_files(made)) == {"model.zip", "card.md"}


def test_the_same_network_makes_the_same_archive(tmp_path: Path, source: Alone) -> None:
    made = [alone(_config(source, "torch"), tmp_path / name) for name in "ab"]
    one, other = (_files(each)["model.zip"].read_bytes() for each in made)
    assert one == other


def test_a_card_alone_and_unchecked_needs_no_images(tmp_path: Path, source: Alone) -> None:
    config = replace(_config(source, "card", check=False), data=DataConfig(dataset="absent"))
    made = alone(config, tmp_path)
    assert set(_files(made)) == {"card.md"}
    assert made.path.found == {"exports": []}


def test_a_file_that_tells_nothing_is_exported_and_its_card_says_so(
    tmp_path: Path, source: Alone
) -> None:
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(source.path.model_records[-1].checkpoint), bare)
    config = replace(_config(source, "torch"), source=Source(checkpoint=bare))
    made = alone(config, tmp_path / "out")
    text = _files(made)["card.md"].read_text()
    assert "Split: unknown" in text
    assert "| validation accuracy | unknown" in text
    assert "Unknown: the path" in text


def test_a_network_of_another_backbone_or_data_set_is_refused(
    tmp_path: Path, source: Alone
) -> None:
    with pytest.raises(CheckpointError, match="must be a vgg13, it is a vgg11"):
        alone(replace(_config(source), backbone="vgg13"), tmp_path)
    other = DataConfig(dataset="digits", image_size=16)
    with pytest.raises(ValueError, match="the source must suit the data set 'digits'"):
        alone(replace(_config(source), data=other), tmp_path)


@pytest.mark.parametrize("form", ["onnx", "pt2", "torch"])
def test_a_file_that_does_not_predict_what_its_network_does_is_not_handed_over(
    form: str, tmp_path: Path, source: Alone
) -> None:
    checkpoint = source.path.model_records[-1].checkpoint
    tensors = load_file(checkpoint)
    tensors["classifier.bias"].fill_(float("nan"))  # no two logits are equal then
    with safe_open(checkpoint, framework="pt") as file:
        save_file(tensors, tmp_path / "broken.safetensors", metadata=file.metadata())
    config = replace(
        _config(source, form), source=Source(checkpoint=tmp_path / "broken.safetensors")
    )
    recorder = RunList()
    around = Surroundings(directories=(), output=tmp_path / "out", recorder=recorder)

    with pytest.raises(ValueError, match=r"model\.\w+ must predict what the network predicts"):
        run(config, around)

    assert recorder.file_records == []
    assert list((tmp_path / "out").iterdir()) == []


def test_an_export_that_is_stopped_reports_nothing_more(tmp_path: Path, source: Alone) -> None:
    asked = iter([False, True])
    recorder = RunList()
    around = Surroundings(
        directories=(), output=tmp_path, recorder=recorder, stop=lambda: next(asked)
    )
    with pytest.raises(Stopped):
        run(_config(source, "torch", "pt2"), around)
    assert [record.title for record in recorder.file_records] == ["model.zip"]
