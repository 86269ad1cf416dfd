"""`python -m bench.coverage`: try networks, and show what was kept of it.

Each row is printed as it comes and, with `--into`, appended to a file as a line of JSON. `--peers`
tries Torch-Pruning instead, a process a network. `--show` prints the table and the summary of a
file, where the last row of a network counts.

`grow` counts the groups that grow, `start` those that keep the width they start with, `fixed` the
tensors with entries that stay. `shuffled`, `widened`, `sliced` and `onnx` are the largest change of
a logit relative to the largest: when the filters of all groups are put into another order, which is
rounding alone; when they are widened; when they are sliced, against masking; and between torch and
onnxruntime. `state` counts the parameters whose state the optimizer still has; `MB` is the most
memory the process had, `find s` and `CPU s` are of one core. Of Torch-Pruning: `params` is the
share of them that is left, `trains` whether a training pass of all heads works, `its state` the
tensors that the optimizer still drives.
"""

import argparse
import gc
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.coverage import networks, ours, peer, rows


def main(argv: Sequence[str] | None = None) -> int:
    """Try networks or show rows; return how many of ours failed in some column."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.coverage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="networks to try; all if omitted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", action="store_true", help="try Torch-Pruning instead")
    parser.add_argument("--into", type=Path, metavar="FILE", help="append the rows, as JSON")
    parser.add_argument("--show", type=Path, metavar="FILE", help="show rows instead of trying")
    options = parser.parse_args(argv)
    if options.show is not None:
        kept = rows.read(options.show)
        print(f"{rows.table(kept)}\n\n{rows.summary(kept)}")
        return 0
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of torchvision's initial weights and of torch's exporter
    names = options.only or networks.names()
    if options.peers:
        return _try_peers(names, options.into)
    return _try_ours(names, options.into, options.seed)


def _try_ours(names: Sequence[str], into: Path | None, seed: int) -> int:
    began = time.perf_counter()
    failed = []
    for name in names:
        row = ours.tried(name, seed=seed)
        if into is not None:
            rows.kept(into, row)
        print(rows.line(row), flush=True)
        if row.failed:
            failed.append(row)
        gc.collect()
    print(f"\n{len(names) - len(failed)} of {len(names)} networks, every column, in ", end="")
    print(f"{time.perf_counter() - began:.0f} s")
    for row in failed:
        print(f"{row.model}: {'; '.join(row.failed)}")
    return len(failed)


def _try_peers(names: Sequence[str], into: Path | None) -> int:
    for name in names:
        row = peer.tried(name, networks.found(name).side)
        if into is not None:
            rows.kept(into, row)
        print(rows.line(row), flush=True)
    return 0
