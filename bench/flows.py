"""The flows of the reference on LeNet-5: train, prune by order, tickets. Each seed is a row.

`python -m bench.flows --dataset fashion-mnist --seeds 3`

Rows are appended to a file of JSON lines as they come about; what it holds already, of the same
settings, is not measured again. `--markdown` prints the tables of docs/results.md from it.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import torch

from worker.training.command import DATA_DIRECTORIES
from worker.training.kinds import run
from worker.training.plans import Source
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.files import ORDER
from worker.training.recipes.result import Result
from worker.training.recorder import RunList
from worker.training.suit import suited

BACKBONE = "lenet5"
PARTS = ("train", "ticket")

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A run and what it recorded."""

    result: Result
    report: RunList

    def model(self, kind: str, *, last: bool = True) -> dict[str, Any]:
        """Return the accuracies and the cost of the last, or first, member of a kind."""
        members = list(zip(self.report.model_records, self.result.tests, strict=True))
        found = [(model, test) for model, test in members if model.kind == kind]
        model, test = found[-1 if last else 0]
        return {
            "validation": model.validation_accuracy,
            "test": test.accuracy,
            "params": model.params,
            "macs": model.macs,
        }


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where the flows run, and what all of them share."""

    dataset: str
    directories: Sequence[Path]
    shared: Settings
    folder: Path = field(default=Path())

    def run(self, kind: str, settings: Settings, name: str) -> Ran:
        """Run a kind, its files in a folder of their own."""
        report = RunList()
        around = Surroundings(
            directories=self.directories, output=self.folder / name, recorder=report
        )
        config = suited(self.dataset, BACKBONE, {**self.shared, **settings}, kind)
        return Ran(result=run(config, around), report=report)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.flows", description=__doc__)
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--data-dir", type=Path, action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--epochs", type=int, default=9, help="of the training with SLBI")
    parser.add_argument("--retrain", type=int, default=9, help="epochs of each arm")
    parser.add_argument("--tune", type=int, default=3, help="epochs behind pruning")
    parser.add_argument("--image-size", type=int, help="px; digits need 28")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="default: bench/results/flows-DATASET.jsonl")
    parser.add_argument("--markdown", action="store_true", help="measure nothing, print the tables")
    options = parser.parse_args(argv)
    output = options.output or Path(f"bench/results/flows-{options.dataset}.jsonl")
    rows = _read(output)
    measures: dict[str, Callable[[Bench, argparse.Namespace], dict[str, Any]]] = {
        "train": train_and_prune,
        "ticket": find_ticket,
    }
    for seed in range(0 if options.markdown else options.seeds):
        for part in options.part:
            key = _key(part, seed, options)
            if any(row["key"] == key for row in rows):
                continue
            with TemporaryDirectory() as folder:
                found = measures[part](_bench(options, seed, Path(folder)), options)
            row = {"key": key, "torch": torch.__version__, **found}
            rows.append(row)
            output.parent.mkdir(parents=True, exist_ok=True)
            with output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
    for part, table in (("train", _train_table), ("ticket", _ticket_table)):
        mine = [row for row in rows if row["key"] == _key(part, row["key"]["seed"], options)]
        if mine:
            print(table(mine))
    return 0


def train_and_prune(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Train by the MNIST flow, then prune conv3, and conv3 and fc1, by order, and tune."""
    third = max(1, options.epochs // 3)
    trained = bench.run(
        "train",
        {
            "twin": {"structure": "mixed"},
            "train": {"epochs": options.epochs, "drops": [third, 2 * third]},
        },
        "train",
    )
    last = trained.report.step_records[-1]
    dense = trained.model("trained")
    order = next(file.path for file in trained.report.file_records if file.title == ORDER)
    source = Source(checkpoint=trained.report.model_records[0].checkpoint, order=order)
    found: dict[str, Any] = {
        "W": dense,
        "support_validation": last.support_accuracy,
        "kept": {
            layer["layer"]: [layer["kept"], layer["total"]]
            for layer in (trained.report.found or {})["layers"]
        },
        "seconds": round(trained.result.seconds, 1),
    }
    for name, percent in (
        ("conv3", {"conv3": 80.0}),
        ("conv3 and fc1", {"conv3": 80.0, "fc1.weight": 80.0}),
    ):
        pruned = bench.run(
            "prune",
            {
                "source": source,
                "pruning": {"percent": percent, "order": "lexicographic"},
                "finetune": {"epochs": options.tune, "learning_rate": 0.01, "schedule": "cosine"},
            },
            name.replace(" ", "-"),
        )
        found[name] = {"pruned": pruned.model("pruned"), "tuned": pruned.model("tuned")}
    return found


def find_ticket(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Find a ticket of single weights, and train it and its rivals for as many epochs each."""
    third = max(1, options.retrain // 3)
    ran = bench.run(
        "ticket",
        {
            "twin": {"structure": "element"},
            "train": {"epochs": options.epochs},
            "retrain": {"epochs": options.retrain, "drops": [third, 2 * third]},
        },
        "ticket",
    )
    told = ran.report.found or {}
    kept = sum(layer["kept"] for layer in told["layers"])
    return {
        **{arm: ran.model(arm) for arm in ("ticket", "random", "dense")},
        "kept": kept / sum(layer["total"] for layer in told["layers"]),
        "mask_epoch": told["mask_epoch"],
        "mask_chosen": told["mask_chosen"],
        "seconds": round(ran.result.seconds, 1),
    }


def _bench(options: argparse.Namespace, seed: int, folder: Path) -> Bench:
    data = {} if options.image_size is None else {"image_size": options.image_size}
    shared = {"data": data, "compute": {"seed": seed, "threads": options.threads}}
    return Bench(
        dataset=options.dataset,
        directories=options.data_dir or DATA_DIRECTORIES,
        shared=shared,
        folder=folder,
    )


def _key(part: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a row is of; rows of other settings are others."""
    lengths = {"epochs": options.epochs}
    lengths |= {"tune": options.tune} if part == "train" else {"retrain": options.retrain}
    return {"part": part, "seed": seed, "dataset": options.dataset, **lengths}


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _train_table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        ("W, trained with SLBI", [row["W"]["test"] for row in rows], rows[0]["W"]["macs"]),
        *(
            (f"{name} less 80 %, {state}", [row[name][kind]["test"] for row in rows], row_macs)
            for name in ("conv3", "conv3 and fc1")
            for kind, state in (("pruned", "before tuning"), ("tuned", "tuned"))
            for row_macs in [rows[0][name][kind]["macs"]]
        ),
    ]
    text = ["| network | test | MACs |", "|---|---|---|"]
    text += [f"| {name} | {_spread(values)} | {macs:,} |" for name, values, macs in lines]
    text += ["", "| layer | in the support |", "|---|---|"]
    for layer, (_, total) in rows[0]["kept"].items():
        kept = ", ".join(f"{row['kept'][layer][0]:,}" for row in rows)
        text.append(f"| {layer} | {kept} of {total:,} |")
    support = _spread([row["support_validation"] for row in rows])
    return "\n".join([*text, "", f"Validation accuracy of W on its support: {support}.", ""])


def _ticket_table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = {
        "ticket": "ticket",
        "random": "its mask over random weights",
        "dense": "its weights without a mask",
    }
    text = ["| network | weights kept | test |", "|---|---|---|"]
    for arm, name in names.items():
        kept = "100 %" if arm == "dense" else f"{100 * mean(row['kept'] for row in rows):.1f} %"
        text.append(f"| {name} | {kept} | {_spread([row[arm]['test'] for row in rows])} |")
    epochs = ", ".join(f"{row['mask_epoch']} ({row['mask_chosen']})" for row in rows)
    return "\n".join([*text, "", f"Masks were taken after epochs {epochs}.", ""])


def _spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation in percent."""
    spread = f" ± {100 * stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.2f}{spread} %"


if __name__ == "__main__":
    raise SystemExit(main())
