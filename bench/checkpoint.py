"""What keeping checkpoints costs: `python -m bench.checkpoint`.

The same run with and without a checkpoint after every epoch, interleaved; the ratio of their times,
and for the largest networks how large one checkpoint is and how long it takes to keep and to read.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
import typer

from slbi.nets import backbones
from worker.training.config import (
    ComputeConfig,
    DataConfig,
    GrowConfig,
    GrowthConfig,
    OptimConfig,
    TuneConfig,
)
from worker.training.keeper import FileLedger, Keeper, Point
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.grow import grow
from worker.training.recipes.twin import couple
from worker.training.recorder import RunList
from worker.training.state import State, describe_optimizer, optimizer_tensors, prefixed

RUN = GrowConfig(
    backbone="vgg11",
    data=DataConfig(dataset="digits"),
    optim=OptimConfig(batch=32),
    growth=GrowthConfig(start=16, round_epochs=4, max_rounds=2),
    tune=TuneConfig(epochs=8, pruned_epochs=0),
    compute=ComputeConfig(device="cpu", threads=1),
)
"""Epochs of a fraction of a second: the worst case, since a checkpoint follows each."""

LARGEST = ("vgg11", "vgg16", "resnet110")


def main(repeats: int = 5) -> None:
    """Print a line for each pair of runs, their median ratio, and a line for each large network."""
    print(f"{'with s':>8} {'without s':>10} {'ratio':>6}")
    ratios = []
    for _ in range(repeats):
        kept, bare = _run_s(keep=True), _run_s(keep=False)
        ratios.append(kept / bare)
        print(f"{kept:8.2f} {bare:10.2f} {ratios[-1]:6.3f}")
    print(f"{'median':>19} {statistics.median(ratios):6.3f}\n")
    print(f"{'standard widths':<16} {'MB':>7} {'keep s':>7} {'read s':>7}")
    for name in LARGEST:
        size, keep_s, read_s = _large(name)
        print(f"{name:<16} {size / 1e6:7.1f} {keep_s:7.2f} {read_s:7.2f}")


def _run_s(*, keep: bool) -> float:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "1"
        keeper = Keeper(output, FileLedger(Path(folder) / "ledger.json"), every=1000)
        around = Surroundings(
            directories=[],
            output=output,
            recorder=RunList(),
            keeper=keeper if keep else None,
        )
        result = grow(RUN, around)
    return result.seconds


def _large(name: str) -> tuple[int, float, float]:
    """Return the bytes of a checkpoint of a standard network, and the seconds it takes."""
    net = backbones.build(name, in_channels=3, size=32, classes=10)
    optimizer = couple(net, OptimConfig(mu=100.0), steps=100)
    net(torch.zeros(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    tensors = {
        **prefixed("net", net.state_dict()),
        **prefixed("optimizer", optimizer_tensors(optimizer, net)),
    }
    state = State(tensors=tensors, about={"optimizer": describe_optimizer(optimizer, net)})
    with tempfile.TemporaryDirectory() as folder:
        keeper = Keeper(Path(folder), FileLedger(Path(folder) / "ledger.json"), every=1)
        began = time.perf_counter()
        keeper.keep(state, Point(step=1, epoch=0, round=0, recorded_step=0, models=0))
        kept = time.perf_counter()
        found = keeper.last()
        read = time.perf_counter()
    if found.entry is None:
        raise RuntimeError("a checkpoint that was kept must be found")
    return found.entry.bytes, kept - began, read - kept


if __name__ == "__main__":
    typer.run(main)
