"""The example pictures of docs/pictures.md: LeNet-5, grown on Fashion-MNIST in about two minutes.

`python -m bench.pictures --output docs/pictures`
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from slbi.pictures.activation import maximise
from slbi.pictures.layers import find_weight
from slbi.pictures.weights import weight_images
from slbi.structure.path import StepRecord, unpack
from worker.training.checkpoint import load
from worker.training.command import DATA_DIRECTORIES
from worker.training.config import GrowConfig
from worker.training.device import convolutions, resolve
from worker.training.pictures.epochs import support_over_epochs
from worker.training.pictures.filters import filter_grid
from worker.training.pictures.order import entry_order, first_epochs
from worker.training.pictures.shares import kept_at, kept_shares
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.grow import grow
from worker.training.recorder import RunList
from worker.training.suit import suited

MAXIMISED = "conv2"
"""The layer whose filters are asked what they look for; the first layer's show their weights."""


def main(argv: Sequence[str] | None = None) -> int:
    """Grow a network, draw it, and print a line a picture."""
    parser = argparse.ArgumentParser(prog="python -m bench.pictures", description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--data-dir", type=Path, action="append")
    parser.add_argument(
        "--all", action="store_true", help="every kind, of every layer, not those of the page alone"
    )
    options = parser.parse_args(argv)
    config = _config(options.dataset)
    report = RunList()
    with TemporaryDirectory() as folder:
        directories = options.data_dir or DATA_DIRECTORIES
        grow(
            config,
            Surroundings(directories=directories, output=Path(folder), recorder=report),
        )
        pictures = _of_path(report) | _of_filters(config, report, everything=options.all)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        if options.all or name in _SHOWN:
            (options.output / f"{name}.png").write_bytes(picture)
            print(f"{name}.png  {len(picture) / 1000:.0f} kB")
    return 0


_SHOWN = (f"{MAXIMISED}-activation", "support", "entry-order")
"""The pictures of the page; `--all` writes the others too."""


def _config(dataset: str) -> GrowConfig:
    """Return a run of three rounds of four epochs, and two of tuning."""
    config: GrowConfig = suited(
        dataset,
        "lenet5",
        {
            "data": {"augment": False},
            "growth": {"start": 8, "round_epochs": 4, "max_rounds": 3},
            "tune": {"epochs": 2, "pruned_epochs": 0},
            "compute": {"device": "cpu", "threads": 1},
        },
    )
    return config


def _of_path(report: RunList) -> dict[str, bytes]:
    layers, steps, growth = report.layer_records, report.step_records, report.growth_records
    grown = [step for step in steps if step.phase == "grow"]
    return {
        "support": support_over_epochs(layers, steps, growth),
        "support-number": support_over_epochs(layers, steps, growth, measure="number"),
        "entry-order": entry_order(first_epochs(layers, grown)),
        "kept": kept_shares(kept_at(layers, grown[-1]), title="Kept share at the end of growth"),
    }


def _of_filters(config: GrowConfig, report: RunList, *, everything: bool) -> dict[str, bytes]:
    """Return the filters of the last network of growth, those of its support marked."""
    grown = [step for step in report.step_records if step.phase == "grow"]
    member = [model for model in report.model_records if model.kind == "grown"][-1]
    net, about = load(member.checkpoint)
    pictures = {}
    for layer in report.layer_records:
        selected = _selected(grown[-1], layer.index)
        weight = find_weight(net, layer.name)
        deep = weight.ndim == 4 and weight.shape[1] > 1
        pictures[f"{layer.name}-weights"] = filter_grid(
            weight_images(weight),
            layer=layer.name,
            selected=selected,
            note=f"Root mean square over {weight.shape[1]} input channels; zero is black."
            if deep
            else "Zero is the middle grey.",
        )
        if not everything and layer.name != MAXIMISED:
            continue
        with convolutions(net, resolve(config.compute)):
            found = maximise(
                net,
                layer.name,
                shape=(about.in_channels, about.size, about.size),
                mean=about.normalisation.mean,
                deviation=about.normalisation.deviation,
                generator=torch.Generator().manual_seed(config.compute.seed),
            )
        pictures[f"{layer.name}-activation"] = filter_grid(
            found.pictures,
            layer=layer.name,
            what="what raises each filter most",
            selected=selected,
            dead=found.dead | found.constant,
        )
    return pictures


def _selected(step: StepRecord, layer: int) -> torch.Tensor:
    support = step.support[layer]
    return unpack(support.bits, support.n_filters)


if __name__ == "__main__":
    raise SystemExit(main())
