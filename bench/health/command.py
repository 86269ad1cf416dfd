"""Measure what has no row yet.

`python -m bench.health`, about a quarter of an hour of one core.

Trunks (`--only trunks`) are grown toward budgets on Fashion-MNIST and say whether new filters learn
and which are dead at the end; runs of the recipe `grow` on digits say how far final widths differ
(`--only widths`) and whether runs end by themselves within their caps (`--only ends`). A finished
run is one line of `--into`; a rerun skips what is there. `python -m bench.health.report` makes the
page.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import torch

from bench.health import recipes, rows, trunks
from bench.health.rows import Row

PARTS = ("trunks", "widths", "ends")


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is missing, print a line for each run, and keep it."""
    options = _options(argv)
    torch.set_num_threads(1)
    have = {row.key for row in rows.read(options.into)}
    for key, make in planned(options.only, options.seeds, options.ways):
        if key in have:
            continue
        row = make()
        rows.append(options.into, row)
        print(f"{row.key}: {row.cpu_seconds:.0f} s of a core", flush=True)
    return 0


def planned(
    parts: Sequence[str], seeds: int, ways: Sequence[str]
) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield the key of every row there should be, and what makes it.

    Args:
        parts: of `PARTS`.
        seeds: of the trunks.
        ways: of the trunks.
    """
    for part, trials in (("ends", recipes.for_ends), ("widths", recipes.for_widths)):
        if part in parts:
            for trial in trials():
                yield trial.key, partial(recipes.made, trial)
    if "trunks" in parts:
        for seed, backbone, way in product(range(seeds), trunks.SIZES, ways):
            yield (
                trunks.key(way, backbone, seed),
                partial(trunks.watched, way, backbone, seed),
            )


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.health",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--seeds", type=int, default=2, help="of the trunks, how many")
    parser.add_argument("--ways", nargs="+", choices=tuple(trunks.WAYS), default=tuple(trunks.WAYS))
    parser.add_argument("--into", type=Path, default=rows.FILE, metavar="FILE")
    return parser.parse_args(argv)
