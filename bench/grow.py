"""What growing gives: rounds, then the family against the network of standard width.

`python -m bench.grow --dataset fashion-mnist --backbone vgg11`
"""

import argparse
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torchvision

from service.cli.overrides import spec_of
from slbi.nets import backbones
from slbi.structure.path import StepRecord
from worker.training.checkpoint import load
from worker.training.command import DATA_DIRECTORIES
from worker.training.data.sources import SOURCES
from worker.training.device import resolve
from worker.training.recipes.begin import start_widths
from worker.training.recipes.budget import BACKWARD
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.grow import grow
from worker.training.recipes.result import Result
from worker.training.recorder import ModelRecord, ProgressRecord, RunList
from worker.training.suit import suited


@dataclass(kw_only=True)
class Report(RunList):
    """A `RunRecorder` that says on the standard error where a long run stands."""

    def progress(self, progress: ProgressRecord) -> None:
        """Say it."""
        super().progress(progress)
        last = self.step_records[-1]
        print(
            f"{progress.phase} epoch {progress.epoch}/{progress.epochs} loss {last.loss:.4f} "
            f"validation {progress.validation_accuracy:.4f} {last.seconds:.1f} s",
            file=sys.stderr,
            flush=True,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and print what it gave."""
    options = _options(argv)
    named = {
        "growth.max_macs": options.max_macs,
        "growth.max_training_macs": options.max_training_macs,
        "compute.seed": options.seed,
        "compute.threads": options.threads,
    }
    asked = (f"{name}={value}" for name, value in named.items() if value is not None)
    settings = spec_of({}, None, [*options.set, *asked])
    settings.setdefault("growth", {}).setdefault("max_macs", _a_tenth(options, settings))
    config = suited(options.dataset, options.backbone, settings)
    report = Report()
    directories = options.data_dir or DATA_DIRECTORIES
    with TemporaryDirectory() as folder:
        output = options.output or Path(folder)
        result = grow(config, Surroundings(directories=directories, output=output, recorder=report))
        standard = _standard_cost(result.members[0])
    rows = rounds(report, config.optim.batch)
    models = family(report, result, standard[1])
    facts = {
        "dataset": options.dataset,
        "backbone": options.backbone,
        "settings": settings,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": str(resolve(config.compute).device),
        "threads": config.compute.threads or torch.get_num_threads(),
        "standard_params": standard[0],
        "standard_macs": standard[1],
        "end": result.end,
        "training_macs": result.training_macs,
        "seconds": round(result.seconds, 1),
    }
    if options.json:
        print(json.dumps({"facts": facts, "rounds": rows, "family": models}, indent=2))
    else:
        _print(facts, rows, models)
    return 0


def rounds(report: RunList, batch: int) -> list[dict[str, Any]]:
    """Return a row a round, and one for each phase of tuning, from the path."""
    names = [layer.name for layer in report.layer_records]
    rows, spent, before = [], 0, 0
    for (phase, number), group in groupby(report.step_records, lambda s: (s.phase, s.round)):
        steps = list(group)
        last = steps[-1]
        spent += BACKWARD * last.macs * batch * (last.step - before)
        before = last.step
        rows.append(
            {
                "phase": f"round {number}" if phase == "grow" else phase,
                "epochs": len(steps),
                "widths": [support.n_filters for support in last.support],
                "fill": {name: _fill(last, index) for index, name in enumerate(names)},
                "macs": last.macs,
                "validation": last.validation_accuracy,
                "seconds": round(sum(step.seconds for step in steps), 1),
                "training_macs": spent,
            }
        )
    return rows


def family(report: RunList, result: Result, standard_macs: int) -> list[dict[str, Any]]:
    """Return a row a member: its cost, its part of the standard network's MACs, its accuracies."""
    return [
        {
            "origin": model.origin,
            "kind": model.kind,
            "widths": list(model.widths.values()),
            "params": model.params,
            "macs": model.macs,
            "ratio": round(standard_macs / model.macs, 2),
            "validation": model.validation_accuracy,
            "test": test.accuracy,
            "latency_ms": round(model.latency_ms, 3),
        }
        for model, test in zip(report.model_records, result.tests, strict=True)
    ]


def _fill(step: StepRecord, layer: int) -> float:
    support = step.support[layer]
    return round(support.n_active / support.n_filters, 2)


def _standard_cost(member: ModelRecord) -> tuple[int, int]:
    """Return parameters and MACs of the network of standard width on the same images."""
    net, _ = load(member.checkpoint)
    return net.cost(backbones.standard_widths(net.name, net.size))


def _a_tenth(options: argparse.Namespace, settings: Mapping[str, Mapping[str, Any]]) -> int:
    """Return a tenth of the standard network's MACs, or twice those of the first network.

    Less than twice the first one would leave no room to grow.
    """
    config = suited(options.dataset, options.backbone, settings)
    source = SOURCES[options.dataset]
    net = backbones.build(
        options.backbone,
        in_channels=source.channels,
        size=config.data.image_size or source.size,
        classes=source.classes,
        device="meta",
    )
    first = start_widths(config.growth, net.widths)
    return max(net.cost()[1] // 10, 2 * net.cost(first)[1])


def _print(facts: dict[str, Any], rows: list[dict[str, Any]], models: list[dict[str, Any]]) -> None:
    for name, value in facts.items():
        print(f"{name}: {value}")
    print("\n| phase | widths | fill | MACs | validation | s | training MACs |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        fills = " ".join(f"{fill:.2f}" for fill in row["fill"].values())
        widths = " ".join(str(width) for width in row["widths"])
        print(
            f"| {row['phase']} | {widths} | {fills} | {row['macs'] / 1e6:.2f} M "
            f"| {100 * row['validation']:.2f} % | {row['seconds']:.0f} "
            f"| {row['training_macs'] / 1e12:.2f} T |"
        )
    print(
        "\n| model | kind | widths | parameters | MACs | less than standard | validation | test |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in models:
        widths = " ".join(str(width) for width in row["widths"])
        print(
            f"| {row['origin']} | {row['kind']} | {widths} | {row['params']:,} "
            f"| {row['macs'] / 1e6:.2f} M | {row['ratio']} x "
            f"| {100 * row['validation']:.2f} % | {100 * row['test']:.2f} % |"
        )


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.grow", description=__doc__)
    parser.add_argument("--dataset", default="fashion-mnist", choices=tuple(SOURCES))
    parser.add_argument("--backbone", default="vgg11")
    parser.add_argument("--data-dir", type=Path, action="append")
    parser.add_argument("--output", type=Path, help="keep the checkpoints in this folder")
    parser.add_argument(
        "--max-macs", type=int, help="of an image at most; a tenth of the standard network's"
    )
    parser.add_argument(
        "--max-training-macs",
        type=int,
        default=30_000_000_000_000,
        help="of the whole run, tuning included",
    )
    parser.add_argument("--seed", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
