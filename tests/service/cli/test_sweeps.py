"""Commands on sweeps, as people run them, against one real service."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.service import served
from service.client.client import Client

STOPPED_WITHIN = 50  # seconds: the grace of a training process, and some for a busy machine

Slbi = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("home")) as address:
        yield address


@pytest.fixture
def slbi(server: str) -> Slbi:
    """The command; it asks the server."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "service.cli.main", *arguments],
            env={**os.environ, "SLBI_SERVER": server},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def read(ended: "subprocess.CompletedProcess[str]") -> Any:  # noqa: ANN401 - JSON
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_a_sweep_is_estimated_started_listed_shown_and_cancelled(server: str, slbi: Slbi) -> None:
    tried = ("sweep", "start", "digits", "vgg11", "resnet20", "--seeds", "2", "--label", "tried")
    # It waits behind everything, and takes too long for this test to see its end.
    asked = (*tried, "--set", "priority=-100", "--axis", "growth.max_rounds=[200,300]")
    forecast = slbi(*asked, "--dry-run").stdout
    assert "backbone=resnet20, compute.seed=1" in forecast
    assert "all 8" in forecast
    started = read(slbi(*asked, "--max-training-macs", str(10**15), "--json"))
    assert len(started["jobs"]) == 8
    assert started["id"] in slbi("sweep", "list").stdout
    shown = slbi("sweep", "show", started["id"]).stdout
    assert all(each["job_id"] in shown for each in started["jobs"])
    listed = slbi("jobs", "--sweep", started["id"], "--limit", "9").stdout
    assert all(each["job_id"] in listed for each in started["jobs"])
    assert slbi("jobs", "--sweep", "tried").returncode == 2
    assert "of 1e+03 T" in shown
    cancelled = slbi("sweep", "cancel", started["id"]).stdout
    assert "cancelled" in cancelled
    deadline = time.monotonic() + STOPPED_WITHIN
    with Client(server) as client:
        while not client.sweep(started["id"])["ended"]:
            assert time.monotonic() < deadline
            time.sleep(0.5)
    again = slbi("sweep", "cancel", started["id"])
    assert again.returncode == 2


def test_a_sweep_from_a_file_stands_alone(slbi: Slbi, tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    specs = [{"dataset": "digits", "backbone": "vgg11"}] * 2
    file.write_text(json.dumps({"specs": specs}))
    found = read(slbi("sweep", "start", "--file", str(file), "--dry-run", "--json"))
    assert found["total"]["jobs"] == 2
    both = slbi("sweep", "start", "digits", "--file", str(file), "--dry-run")
    assert both.returncode == 2
    assert "--file must hold the whole sweep" in both.stderr
