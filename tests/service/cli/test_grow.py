"""`slbi grow` as people run it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = (
    *("growth.max_rounds=1", "growth.round_epochs=1", "tune.epochs=1", "tune.pruned_epochs=0"),
    *("optim.batch=256", "compute.threads=1"),
)
QUICK = ("digits", "vgg11", *(part for setting in SETTINGS for part in ("--set", setting)))


def _grow(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service.cli.main", "grow", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


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
    command = [sys.executable, "-m", "service.cli.main", "grow", "digits", "vgg11", "--json"]
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
