"""What each knob of growth by rounds is worth: one run a value and seed, all else as the default.

`python -m bench.knobs --dataset fashion-mnist --images 9000 --seeds 3`

All runs have the same images, caps and tuning. A finished run is one line of `--into`; a rerun
skips what is there. `--report` runs nothing and prints the table of what is there. Accuracies are
of the validation split: the choice of a default must not look at the test split.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from worker.training.command import DATA_DIRECTORIES
from worker.training.config import GrowConfig
from worker.training.data.formats import Part, Which, read
from worker.training.data.locate import find_files
from worker.training.data.sources import SOURCES
from worker.training.recipes.conduct import Surroundings
from worker.training.recipes.grow import grow
from worker.training.recorder import RunList
from worker.training.suit import suited

FILE = Path("bench/results/knobs.jsonl")
"""Where rows are kept."""

DATASETS = ("fashion-mnist", "mnist")
"""Those whose files are of the idx format, in which a part of them is written."""

DEFAULT = "default"
"""Name of the way that all others are compared with."""

WAYS: Mapping[str, Mapping[str, Any]] = {
    DEFAULT: {},
    "when plateau": {"when": "plateau", "patience": 1, "round_epochs": 4},
    "when both": {"when": "both", "patience": 1, "round_epochs": 4},
    "where gain": {"where": "gain"},
    "new_rate 0.5": {"new_rate": 0.5},
    "new_rate 2": {"new_rate": 2.0},
    "schedule cosine": {"schedule": "cosine"},
    "pull 0.1": {"pull": 0.1},
    "seed pairs": {"seed": "pairs"},
    "mode restart": {"mode": "restart"},
    "round_epochs 1": {"round_epochs": 1},
    "round_epochs 4": {"round_epochs": 4},
}
"""Name -> settings of growth. Rounds that a plateau ends may last as long as the longest ones."""

TEST_IMAGES = 200
"""Of the test split; a run tests its members at its end, and nothing here looks at that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What came of one run."""

    way: str
    dataset: str
    backbone: str
    images: int
    """Training images, those held out for validation included."""
    seed: int
    settings: dict[str, Any]
    """What all ways have in common."""
    grown: float
    """Validation accuracy of the last network of growth, 0 to 1."""
    tuned: float
    """Likewise, tuned."""
    macs: int
    training_macs: int
    rounds: list[int]
    """Epochs of each."""
    end: str
    cpu_seconds: float

    @property
    def setting(self) -> tuple[str, str, int, str]:
        """Return what rows that are compared have in common."""
        return (self.dataset, self.backbone, self.images, json.dumps(self.settings, sort_keys=True))


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing and print the table."""
    options = _options(argv)
    torch.set_num_threads(1)
    settings = _settings(options)
    asked = (
        options.dataset,
        options.backbone,
        options.images,
        json.dumps(settings, sort_keys=True),
    )
    have = {(row.way, row.seed) for row in rows(options.into) if row.setting == asked}
    missing = [
        (seed, way)
        for seed in range(options.seeds)
        for way in options.only or WAYS
        if (way, seed) not in have
    ]
    if missing and not options.report:
        with TemporaryDirectory() as folder:
            subset(options.dataset, options.images, Path(folder), DATA_DIRECTORIES)
            for seed, way in missing:
                row = _row(options, settings, way, seed, Path(folder))
                with options.into.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
                print(f"{way}, seed {seed}: {100 * row.tuned:.2f} %, {row.cpu_seconds:.0f} s")
    print(table([row for row in rows(options.into) if row.setting == asked]))
    return 0


def rows(path: Path) -> list[Row]:
    """Return the rows of a file, of equal runs the last; none where there is no file."""
    if not path.exists():
        return []
    told = (Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines())
    return list({(row.setting, row.way, row.seed): row for row in told}.values())


def table(found: Sequence[Row]) -> str:
    """Return rows of one setting as a table in Markdown; gains are seed by seed."""
    lines = [
        "| knob | end of growth | tuned | gain | MACs, K | training MACs, G | epochs by round |",
        "|---|---|---|---|---|---|---|",
    ]
    default = {row.seed: row.tuned for row in found if row.way == DEFAULT}
    for way in WAYS:
        mine = [row for row in found if row.way == way]
        if not mine:
            continue
        gains = [row.tuned - default[row.seed] for row in mine if row.seed in default]
        epochs = "; ".join(" ".join(map(str, row.rounds)) for row in mine)
        lines.append(
            f"| {way} | {_percent([row.grown for row in mine])} "
            f"| {_percent([row.tuned for row in mine])} "
            f"| {'' if way == DEFAULT else _percent(gains, sign='+')} "
            f"| {mean(row.macs for row in mine) / 1e3:.0f} "
            f"| {mean(row.training_macs for row in mine) / 1e9:.0f} | {epochs} |"
        )
    return "\n".join(lines)


def subset(dataset: str, count: int, folder: Path, directories: Sequence[Path]) -> None:
    """Write some images of a data set as one of its own name into a folder.

    Args:
        dataset: one of `DATASETS`.
        count: of its training images; which ones they are never changes.
        folder: of data sets, to write to.
        directories: where data sets lie, to read from.

    Raises:
        ValueError: there are not so many.
        DatasetAbsentError: it lies in none of the directories.
    """
    source = SOURCES[dataset]
    files = find_files(source, directories)
    draw = torch.Generator().manual_seed(0)
    named = iter(source.layouts[1])
    parts: tuple[tuple[Which, int], ...] = (("train", count), ("test", TEST_IMAGES))
    for which, some in parts:
        whole = read(dataset, files, which)
        if not 1 <= some <= len(whole):
            raise ValueError(f"images must be 1 to {len(whole)} for {dataset}, got {some}")
        part = whole.rows(torch.randperm(len(whole), generator=draw)[:some])
        _write(part, folder / next(named), folder / next(named))


def _write(part: Part, images: Path, labels: Path) -> None:
    """Write a part in the idx format: 0, 0, 8 for bytes, the rank, the lengths, the entries."""
    images.parent.mkdir(parents=True, exist_ok=True)
    for path, tensor in ((images, part.images[:, 0]), (labels, part.labels.to(torch.uint8))):
        lengths = np.array(tensor.shape, dtype=">u4").tobytes()
        path.write_bytes(bytes([0, 0, 8, tensor.ndim]) + lengths + tensor.numpy().tobytes())


def _row(
    options: argparse.Namespace, settings: dict[str, Any], way: str, seed: int, data: Path
) -> Row:
    began = time.process_time()
    asked = {
        **settings,
        "growth": {**settings["growth"], **WAYS[way]},
        "compute": {"seed": seed, "threads": 1, "device": "cpu"},
    }
    config: GrowConfig = suited(options.dataset, options.backbone, asked)
    path = RunList()
    with TemporaryDirectory() as folder:
        around = Surroundings(directories=[data], output=Path(folder), recorder=path)
        result = grow(config, around)
    grown = [member for member in result.members if member.kind == "grown"][-1]
    tuned = next(member for member in result.members if member.kind == "tuned")
    learning = [step.round for step in path.step_records if step.phase == "grow"]
    return Row(
        way=way,
        dataset=options.dataset,
        backbone=options.backbone,
        images=options.images,
        seed=seed,
        settings=settings,
        grown=grown.validation_accuracy,
        tuned=tuned.validation_accuracy,
        macs=tuned.macs,
        training_macs=result.training_macs,
        rounds=[learning.count(number) for number in sorted(set(learning))],
        end=result.end,
        cpu_seconds=round(time.process_time() - began, 1),
    )


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return what all ways have in common."""
    return {
        "growth": {
            "start": options.start,
            "minimum": options.start // 2,
            "threshold": options.threshold,
            "round_epochs": 2,
            "max_rounds": options.epochs,
            "max_epochs": options.epochs,
            "max_macs": options.max_macs,
            "max_training_macs": options.max_training_macs,
        },
        "tune": {"epochs": options.tune_epochs, "pruned_epochs": 0},
        "data": {"validation": options.validation},
    }


def _percent(shares: Sequence[float], sign: str = "") -> str:
    """Return mean and standard deviation of some shares, in percent."""
    if not shares:
        return ""
    spread = f" ± {100 * stdev(shares):.1f}" if len(shares) > 1 else ""
    return f"{100 * mean(shares):{sign}.1f}{spread}"


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.knobs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", default="fashion-mnist", choices=DATASETS)
    parser.add_argument("--backbone", default="vgg11")
    parser.add_argument("--images", type=int, default=9000, help="of the training split")
    parser.add_argument(
        "--validation",
        type=float,
        default=0.3,
        help="share of them that is held out, to compare by",
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--start", type=int, default=8, help="filters of every group at first")
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="of the fill: rounds are of few steps here"
    )
    parser.add_argument("--epochs", type=int, default=10, help="of growth at most")
    parser.add_argument("--tune-epochs", type=int, default=4)
    parser.add_argument("--max-macs", type=int, default=1_500_000, help="of an image")
    parser.add_argument("--max-training-macs", type=int, default=200_000_000_000)
    parser.add_argument("--only", nargs="+", choices=tuple(WAYS), metavar="WAY")
    parser.add_argument("--into", type=Path, default=FILE, metavar="FILE")
    parser.add_argument("--report", action="store_true", help="run nothing, print the table")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
