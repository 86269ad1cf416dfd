"""What two processes make of a run, against one with the whole batch: `python -m bench.processes`.

The step itself is equal to rounding (tests/worker/training/test_team.py, in float64). In float32 a
network amplifies that rounding as it learns; this says by how much.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file

from worker.training.launch import run
from worker.training.recipes.conduct import Surroundings
from worker.training.recorder import RunList
from worker.training.suit import suited

RUNS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("lenet5", {"image_size": 28}, 128),
    ("lenet5", {"image_size": 28}, 65),
    ("resnet20", {}, 128),
)
"""Backbone, data and batch of a run on digits. A batch of 65 cannot be split evenly."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run each in one process and in two, and print the largest difference of a weight."""
    parser = argparse.ArgumentParser(prog="python -m bench.processes", description=__doc__)
    parser.add_argument("--epochs", type=int, default=1)
    options = parser.parse_args(argv)
    print("| network | batch | steps | largest difference | supports |\n|---|---|---|---|---|")
    for backbone, data, batch in RUNS:
        (one, report), (two, other) = (
            _ran(backbone, data, batch, options.epochs, processes) for processes in (1, 2)
        )
        largest = max(float((one[name] - two[name]).abs().max()) for name in one)
        same = all(
            a.support == b.support
            for a, b in zip(report.step_records, other.step_records, strict=True)
        )
        steps = report.step_records[-1].step
        told = "the same" if same else "others"
        print(f"| {backbone} | {batch} | {steps} | {largest:.0e} | {told} |", flush=True)
    return 0


def _ran(
    backbone: str, data: dict[str, Any], batch: int, epochs: int, processes: int
) -> tuple[dict[str, torch.Tensor], RunList]:
    settings = {
        "data": {"augment": False, **data},
        "optim": {"batch": batch, "learning_rate": 0.05, "mu": 0.3},
        "train": {"epochs": epochs},
        "compute": {"device": "cpu", "threads": 1, "processes": processes},
    }
    report = RunList()
    with TemporaryDirectory() as folder:
        around = Surroundings(directories=(), output=Path(folder), recorder=report)
        result = run(suited("digits", backbone, settings, "train"), around)
        weights = load_file(result.members[0].checkpoint)
    return {name: weight for name, weight in weights.items() if weight.is_floating_point()}, report


if __name__ == "__main__":
    raise SystemExit(main())
