"""Pruning to a latency: what was asked for, what is reached, and whether narrower is faster.

`python -m bench.latency --threads 1`

Networks have random weights: what a forward pass takes does not depend on them. For each target,
`reached` is what the search says, and `again` a measurement of its own afterwards, in turns with
the whole network; both as shares of the target too. Then the networks on the way from the whole one
to the narrowest are measured in turns, an eighth of the filters apart: `rises` counts those that
are slower than the one before by more than the spread of both (half the distance of their
quartiles).
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch

from slbi.nets.backbone import Backbone
from slbi.pruning.latency import by_latency
from slbi.pruning.nested import Nested
from slbi.pruning.rank import filter_norms, rank_together
from slbi.pruning.slice import slice_filters
from worker.training import backbones
from worker.training.count import Stopwatch, Timing, side_by_side
from worker.training.device import Compute

NETWORKS = (("vgg16", 32), ("resnet20", 32), ("resnet56", 32), ("resnet18", 64))
"""Name and side of the images, px."""
SHARES = (0.8, 0.6, 0.4)
"""Targets, of the latency of the whole network."""
STEPS = 8
"""Networks on the way, the whole one not counted."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print two tables, or a row a line as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--backbone", action="append", help="may be repeated; all by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--multiple", type=int, default=8, help="of the widths, in the search")
    parser.add_argument("--json", action="store_true", help="rows as JSON, a line each")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    compute = Compute(device=torch.device(device), precision="float32")
    rows: list[dict[str, Any]] = []
    for name, size in NETWORKS:
        if options.backbone is None or name in options.backbone:
            same = {"network": name, "px": size, "device": device, "threads": options.threads}
            for row in _rows(name, size, compute, options.multiple):
                rows.append({**same, **row})
                print(f"{name}: {row}", file=sys.stderr, flush=True)
    if options.json:
        print("\n".join(json.dumps(row) for row in rows))
    else:
        _print(rows)
    return 0


def _rows(name: str, size: int, compute: Compute, multiple: int) -> Iterator[dict[str, Any]]:
    """Yield what came out for one network: a row a target, then one a multiple for the way."""
    draw = torch.Generator().manual_seed(0)
    net = backbones.build(name, in_channels=3, size=size, classes=10, generator=draw)
    ranks = rank_together(filter_norms(net), {}, "norm")
    compute.place(net)
    for share in SHARES:
        yield _target(net, ranks, share, compute, multiple)
    for width in sorted({1, multiple}):
        yield _way(net, Nested(net=net, ranks=ranks, multiple=width), compute)


def _target(
    net: Backbone, ranks: dict[str, torch.Tensor], share: float, compute: Compute, multiple: int
) -> dict[str, Any]:
    stopwatch = Stopwatch(compute)
    stopwatch([net], thorough=True)
    if stopwatch.reference is None:
        raise TypeError("a stopwatch that has measured must have a reference")
    dense = stopwatch.reference
    limit = share * dense.ms
    began = time.perf_counter()
    told = {
        "target": share,
        "multiple": multiple,
        "dense_ms": dense.ms,
        "dense_spread": _spread(dense),
        "target_ms": limit,
    }
    try:
        fast = by_latency(net, ranks, limit, stopwatch, multiple=multiple)
    except ValueError as error:
        return {**told, "refused": str(error), "seconds": time.perf_counter() - began}
    seconds = time.perf_counter() - began
    sliced = slice_filters(net, None, fast.keep).net
    compute.place(sliced)
    whole, again = side_by_side([net, sliced], compute)
    ms = again.ms / whole.ms * dense.ms
    return {
        **told,
        "reached_ms": fast.ms,
        "again_ms": ms,
        "again_spread": _spread(again),
        "of_target": fast.ms / limit,
        "again_of_target": ms / limit,
        "met": fast.met,
        "wider_ms": fast.wider_ms,
        "macs_share": sliced.cost()[1] / net.cost()[1],
        "seconds": seconds,
    }


def _way(net: Backbone, nested: Nested, compute: Compute) -> dict[str, Any]:
    """Measure the networks on the way, in turns."""
    places = [nested.last * step // STEPS for step in range(1, STEPS + 1)]
    nets = [net.hollow(nested.widths(place)) for place in places]
    for each in nets:
        compute.place(each)
    timings = side_by_side([net, *nets], compute)
    rises = [
        after.ms - before.ms
        for before, after in pairwise(timings)
        if after.ms - before.ms > (_quarter(before) + _quarter(after))
    ]
    return {
        "way": [timing.ms for timing in timings],
        "way_macs": [each.cost()[1] / net.cost()[1] for each in (net, *nets)],
        "multiple": nested.multiple,
        "rises": len(rises),
    }


def _quarter(timing: Timing) -> float:
    """Return half the distance of the quartiles, ms."""
    return (timing.high_ms - timing.low_ms) / 2


def _spread(timing: Timing) -> float:
    """Return the distance of the quartiles as a share of the median."""
    return (timing.high_ms - timing.low_ms) / timing.ms


def _print(rows: Sequence[dict[str, Any]]) -> None:
    """Print the rows as two tables."""
    print(
        "| network | px | dense | target | reached | of target | again, of target | MACs | search |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        if "refused" in row:
            print(
                f"| {row['network']} | {row['px']} | {row['dense_ms']:.2f} ms "
                f"| {row['target_ms']:.2f} ms ({row['target']:.0%}) | none: {row['refused']} "
                f"| | | | {row['seconds']:.0f} s |"
            )
        elif "target" in row:
            print(
                f"| {row['network']} | {row['px']} | {row['dense_ms']:.2f} ms "
                f"| {row['target_ms']:.2f} ms ({row['target']:.0%}) | {row['reached_ms']:.2f} ms "
                f"| {row['of_target']:.1%}{'' if row['met'] else ' (the next wider is too slow)'} "
                f"| {row['again_of_target']:.1%} | {row['macs_share']:.0%} "
                f"| {row['seconds']:.0f} s |"
            )
    print("\n| network | multiple | ms along the way | MACs along the way | rises |")
    print("|---|---|---|---|---|")
    for row in rows:
        if "way" in row:
            print(
                f"| {row['network']} | {row['multiple']} "
                f"| {' '.join(f'{ms:.2f}' for ms in row['way'])} "
                f"| {' '.join(f'{share:.0%}' for share in row['way_macs'])} | {row['rises']} |"
            )


if __name__ == "__main__":
    raise SystemExit(main())
