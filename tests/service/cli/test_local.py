"""The commands that need no service, as people run them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision.models

from slbi.growth.narrow import narrow, start_widths
from slbi.nets.graph.find import find
from tests.service.tensor_files import sound
from worker.training.checkpoint import load

SETTINGS = (
    *("growth.max_rounds=1", "growth.round_epochs=1", "tune.epochs=1", "tune.pruned_epochs=0"),
    *("optim.batch=256", "compute.threads=1"),
)
QUICK = ("digits", "vgg11", *(part for setting in SETTINGS for part in ("--set", setting)))


def _slbi(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _grow(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return _slbi("grow", *arguments)


def _set(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def test_the_family_and_the_path_are_shown(tmp_path: Path) -> None:
    ended = _grow(*QUICK, "--output", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert "round 0  epoch 1/2  accuracy" in ended.stdout
    assert "Growth ended: max_rounds: 1 rounds are done" in ended.stdout
    rows = [line.split()[0] for line in ended.stdout.splitlines() if line]
    assert {"model", "conv1", "conv8", "accuracy"} <= set(rows)
    assert str(tmp_path) in ended.stdout


def test_json_is_a_record_a_line(tmp_path: Path) -> None:
    ended = _grow(*QUICK, "--output", str(tmp_path), "--json")
    assert ended.returncode == 0, ended.stderr
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    assert records[0]["type"] == "layers"
    assert records[-1]["type"] == "succeeded"
    assert records[-1]["data"]["epochs"] == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["digits"], "Missing argument"),
        (["digits", "vgg7"], "backbone must be one of"),
        (["digits", "vgg11", "--set", "growth"], "--set must be like"),
        (["digits", "vgg11", "--nope"], "No such option"),
    ],
)
def test_bad_input_is_told_on_the_standard_error_and_exits_with_2(
    arguments: list[str], told: str, tmp_path: Path
) -> None:
    ended = _grow(*arguments, *(["--output", str(tmp_path)] if len(arguments) > 1 else []))
    assert ended.returncode == 2
    assert told in " ".join(ended.stderr.split())


def test_a_diverging_run_exits_with_1(tmp_path: Path) -> None:
    wild = ("--set", "optim.learning_rate=10", "--set", "optim.kappa=1000")
    ended = _grow(*QUICK, *wild, "--set", "optim.batch=32", "--output", str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr.startswith("slbi: training diverged")


def test_an_interrupted_run_exits_with_130(tmp_path: Path) -> None:
    # Who starts the tests in the background has SIGINT ignored, which a child inherits.
    heeding = ["env", "--default-signal=INT", sys.executable]
    command = [*heeding, "-m", "service.cli.main", "grow", "digits", "vgg11", "--json"]
    with subprocess.Popen(
        [*command, "--output", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        process.stdout.read()
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 130


BRIEF = ("widths=8", "train.epochs=1", "optim.batch=256", "compute.threads=1")


@pytest.mark.slow
def test_a_trained_network_is_pruned_drawn_and_exported_from_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    trained = _slbi("train", "digits", "vgg11", *_set(*BRIEF, "compute.seed=3"), "-o", str(folder))
    assert trained.returncode == 0, trained.stderr
    assert "ended" not in trained.stdout
    assert "train  epoch 1/1" in trained.stdout
    (order,) = folder.glob("*order.safetensors")
    assert f"order.safetensors: {order}" in trained.stdout
    net = str(folder / "000-trained.safetensors")

    quick = _set("pruning.percent=50", "finetune.epochs=0", "compute.threads=1")
    pruned = _slbi("prune", net, *quick, "--order", str(order), "-o", str(tmp_path / "p"))
    assert pruned.returncode == 0, pruned.stderr
    assert "accuracy, source" in pruned.stdout
    assert "4 4 4 4 4 4 4 4" in pruned.stdout
    _, about = load(tmp_path / "p" / "000-pruned.safetensors")
    assert about.config["compute"]["seed"] == 3

    layer = "features.conv2.conv"
    drawn = _slbi(
        "visualise", net, "--layers", layer, *_set("pictures.steps=1"), "-o", str(tmp_path / "v")
    )
    assert drawn.returncode == 0, drawn.stderr
    assert "draw  picture 2/2" in drawn.stdout
    assert "accuracy" not in drawn.stdout
    titles = {f"{layer}-weights.png", f"{layer}-activation.png"}
    assert titles == {line.split(":")[0] for line in drawn.stdout.splitlines() if ".png:" in line}

    out = tmp_path / "e"
    made = _slbi("export", net, "--format", "onnx", "--format", "torch", "-o", str(out))
    assert made.returncode == 0, made.stderr
    assert "export  file 2/2" in made.stdout
    assert {path.name for path in out.iterdir()} == {"model.onnx", "model.zip", "card.md"}
    wrong = _slbi("export", net, "--format", "tf", "-o", str(out))
    assert (wrong.returncode, "formats must be one of onnx, pt2" in wrong.stderr) == (2, True)


@pytest.mark.slow
def test_a_ticket_ends_with_its_arms_and_weights_with_what_is_kept(tmp_path: Path) -> None:
    ended = _slbi(
        "ticket", "digits", "vgg11", *_set(*BRIEF, "retrain.epochs=1"), "-o", str(tmp_path / "t")
    )
    assert ended.returncode == 0, ended.stderr
    assert "rival: random" in ended.stdout
    arms = [line.split()[0] for line in ended.stdout.splitlines() if " digits " in line]
    assert arms == ["ticket", "random", "dense"]

    kept = _slbi(
        "weights", "digits", "vgg11", *_set(*BRIEF, "finetune.epochs=0"), "-o", str(tmp_path / "w")
    )
    assert kept.returncode == 0, kept.stderr
    shares = [line.split()[:2] for line in kept.stdout.splitlines() if " %" in line]
    assert ["classifier.weight", "80"] in shares
    assert "kept.csv: " in kept.stdout


@pytest.mark.parametrize("command", ["prune", "visualise", "export"])
def test_a_file_that_does_not_describe_itself_needs_names(command: str, tmp_path: Path) -> None:
    bare = tmp_path / "net.safetensors"
    bare.write_bytes(sound(8))
    ended = _slbi(command, str(bare), "digits", *_set("pruning.percent=50"))
    assert ended.returncode == 2
    assert "backbone must be given" in ended.stderr
    assert _slbi(command, str(tmp_path / "none"), "digits").returncode == 2


@pytest.mark.slow
def test_a_file_of_torchvision_is_pruned_and_a_ticket_found_in_it(tmp_path: Path) -> None:
    net = torchvision.models.alexnet(num_classes=7)
    found = find(net, (3, 64, 64))
    slim = narrow(net, start_widths(found, ratio=1 / 16), found=found)
    torch.save(slim.state_dict(), tmp_path / "alexnet.pth")
    file, brief = str(tmp_path / "alexnet.pth"), ("data.image_size=64", "compute.threads=1")
    quick = _set(*brief, "pruning.percent=50", "pruning.order=norm", "finetune.epochs=0")
    pruned = _slbi(
        "prune", file, "digits", "--backbone", "alexnet", *quick, "-o", str(tmp_path / "p")
    )
    assert pruned.returncode == 0, pruned.stderr
    assert "begun anew, for 10 classes instead of 7" in " ".join(pruned.stdout.split())

    quick = _set(*brief, "train.epochs=1", "retrain.epochs=1", "rivals=[]", "start=source")
    ticket = ("ticket", "digits", "alexnet", "--source", file)
    ended = _slbi(*ticket, *quick, "-o", str(tmp_path / "t"))
    assert ended.returncode == 0, ended.stderr
    assert "start" in ended.stdout

    unnamed = _slbi("prune", file, *_set("pruning.percent=50"), "-o", str(tmp_path / "u"))
    assert unnamed.returncode == 2
    assert "backbone and dataset must be given" in " ".join(unnamed.stderr.split())
