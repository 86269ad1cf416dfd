"""Run the methods that have no row yet.

`python -m bench.family --dataset fashion-mnist --seeds 3 --compute 3e12 --backbone small-vgg`

Every method has the same training compute, `--compute` multiply-accumulates (3 x forward for each
image, growth, scores and tuning included), for members at 2, 5, 12, 25 and 50 % of the backbone's.
A finished method is one line of `--into`; a rerun skips what is there. Tables and plots of the rows
are made by `python -m bench.family.report`.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.family import rows
from bench.family.data import images
from bench.family.methods import METHODS
from bench.family.networks import NAMES, Standard
from bench.family.task import Task


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, print each row's accuracies, and keep it."""
    options = _options(argv)
    torch.set_num_threads(1)
    data = images(options.dataset, options.images)
    count = options.images or len(data.train) + len(data.validation)
    standard = Standard(options.backbone, data.channels, data.size, len(data.train.classes))
    first = options.first_seed
    for seed, method in rows.missing(
        rows.read(options.into),
        options.only or list(METHODS),
        standard,
        options.dataset,
        images=count,
        compute=int(options.compute),
        seeds=range(first, first + options.seeds),
    ):
        task = Task(
            standard=standard,
            data=data,
            images=count,
            compute=int(options.compute),
            seed=seed,
        )
        began, busy = time.perf_counter(), time.process_time()
        outcome = METHODS[method](task)
        row = rows.written(
            method,
            task,
            outcome,
            seconds=time.perf_counter() - began,
            cpu_seconds=time.process_time() - busy,
        )
        rows.append(options.into, row)
        told = " ".join(f"{100 * member.test:.2f}" for member in row.members)
        print(
            f"{method} seed {seed}: {told} % test, {sum(row.runs) / 1e12:.2f} T, "
            f"{row.cpu_seconds:.0f} s of a core, {row.seconds:.0f} s on the clock",
            flush=True,
        )
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.family",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", default="fashion-mnist", choices=("fashion-mnist", "digits"))
    parser.add_argument("--backbone", default="small-vgg", choices=NAMES)
    parser.add_argument("--compute", type=float, default=3e12, help="training MACs of a run")
    parser.add_argument("--images", type=int, help="training images; all if omitted")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=tuple(METHODS), metavar="METHOD")
    parser.add_argument("--into", type=Path, default=rows.FILE, metavar="FILE")
    return parser.parse_args(argv)
