"""What new filters should start as: the same growth with every seed, and with a restart.

`python -m bench.seeds --dataset digits --backbone vgg11 --runs 5`

For each way of growing, over several random seeds: the accuracy of the network at the end of
growth and after tuning. Accuracies are of the validation split: the choice of a default must
not look at the test split.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

from worker.training.command import DATA_DIRECTORIES
from worker.training.config import SEEDS, GrowConfig
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.grow import grow
from worker.training.recorder import RunList
from worker.training.suit import suited

WAYS = {**{seed: {"seed": seed} for seed in SEEDS}, "restart": {"mode": "restart"}}
"""Name -> settings of growth."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each way of growing."""
    parser = argparse.ArgumentParser(prog="python -m bench.seeds", description=__doc__)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--backbone", default="vgg11")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--round-epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--tune-epochs", type=int, default=5)
    options = parser.parse_args(argv)
    if options.runs < 2:
        parser.error(f"--runs must be >= 2 to show a spread, got {options.runs}")
    print(f"{options.dataset}, {options.backbone}, {options.runs} runs, validation accuracy, %")
    print("| new filters | end of growth | spread | tuned | spread | MACs |")
    print("|---|---|---|---|---|---|")
    for name, settings in WAYS.items():
        rows = [_run(_config(options, settings, number)) for number in range(options.runs)]
        grown, tuned, macs = zip(*rows, strict=True)
        print(
            f"| {name} | {100 * mean(grown):.2f} | {100 * stdev(grown):.2f} "
            f"| {100 * mean(tuned):.2f} | {100 * stdev(tuned):.2f} | {mean(macs):,.0f} |",
            flush=True,
        )
    return 0


def _config(options: argparse.Namespace, growth: dict[str, str], number: int) -> GrowConfig:
    length = {"round_epochs": options.round_epochs, "max_rounds": options.rounds}
    settings = {
        "growth": {**growth, **length},
        "tune": {"epochs": options.tune_epochs, "pruned_epochs": 0},
        "compute": {"seed": number, "threads": options.threads},
    }
    config: GrowConfig = suited(options.dataset, options.backbone, settings)
    return config


def _run(config: GrowConfig) -> tuple[float, float, int]:
    """Return the accuracies of the last grown member and of the tuned one, and its MACs."""
    with TemporaryDirectory() as folder:
        around = Surroundings(directories=DATA_DIRECTORIES, output=Path(folder), recorder=RunList())
        result = grow(config, around)
    grown = [member for member in result.members if member.kind == "grown"][-1]
    tuned = next(member for member in result.members if member.kind == "tuned")
    return grown.validation_accuracy, tuned.validation_accuracy, tuned.macs


if __name__ == "__main__":
    raise SystemExit(main())
