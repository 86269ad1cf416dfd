"""What can be grown and sliced: every classifier of torchvision, none with code of its own.

`python -m bench.coverage [--only NAME…]`

For each: its coupling is found, it is narrowed to an eighth, trained a step with SLBI, widened by a
quarter in every group, sliced by a third at random, saved, loaded into a network that only its name
and its widths rebuild, and trained another step with the optimizer that was carried all the way.

`grow` counts the groups that grow, `start` those whose width is chosen at the start because a norm
takes statistics over them, `fixed` the tensors with entries that stay. `shuffled`, `widened` and
`sliced` are the largest change of a logit relative to the largest logit: when the filters of all
groups are put into another order, which is rounding alone; when they are widened; and when they are
sliced, against masking. `state` counts the parameters whose state the optimizer still knows.
"""

import argparse
import gc
import io
import json
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
import torchvision.models
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from slbi.growth.narrow import narrow, start_widths
from slbi.growth.widen import widen
from slbi.nets.graph.find import Found, find
from slbi.nets.graph.resize import rebuilt, resized
from slbi.nets.widths import Widths
from slbi.optim.optimizer import SLBI
from slbi.pruning.mask import masked
from slbi.pruning.recalibrate import recalibrate
from slbi.pruning.slice import slice_filters

SIDES = (64, 128, 224, 299)
"""Sides of an image, px, small to large; a network is tried at the first that it takes."""

DOUBLE_UP_TO = 50_000_000
"""Parameters up to which a network is tried in float64; the time of larger ones is held down."""

ROUNDING = 100
"""How many times the tolerance rounding alone may carry the logits of a deep network."""

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
"""Largest change of a logit relative to the largest logit. Source: docs/method.md, "Coupling"."""


@dataclass(slots=True)
class Row:
    """What came out for one network."""

    name: str
    cells: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    """Columns that did not come out as they must."""


COLUMNS = (
    "px", "dtype", "grow", "start", "fixed", "find_s", "shuffled", "widened", "sliced", "state",
    "loaded", "total_s",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Print a row for each network and a summary; return how many failed in some column."""
    parser = argparse.ArgumentParser(prog="python -m bench.coverage", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="networks to try; all if omitted")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)  # torchvision announces other initial weights.
    began = time.perf_counter()
    print(f"| model | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    rows = []
    for name in options.only or torchvision.models.list_models(module=torchvision.models):
        rows.append(_row(name, options.seed))
        cells = [rows[-1].cells.get(column, "-") for column in COLUMNS]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        gc.collect()
    failed = [row for row in rows if row.failed]
    print(f"\n{len(rows) - len(failed)} of {len(rows)} networks, every column, in ", end="")
    print(f"{time.perf_counter() - began:.0f} s")
    for row in failed:
        print(f"{row.name}: {'; '.join(row.failed)}")
    return len(failed)


def _row(name: str, seed: int) -> Row:
    row = Row(name)
    began = time.perf_counter()
    try:
        _try(row, seed)
    except Exception as error:  # noqa: BLE001 -- the next network must still be tried
        row.failed.append(f"{type(error).__name__}: {str(error)[:300]}")
    row.cells["total_s"] = f"{time.perf_counter() - began:.1f}"
    return row


def _try(row: Row, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    standard, whole, side, seconds = _found(row.name)
    found = whole.resized(start_widths(whole, ratio=1 / 8, minimum=2))
    net = narrow(standard, found.widths, found=whole)
    net = _materialised(net, generator)
    # A BatchNorm of one pixel cannot be trained on one image.
    count = 2 if any(isinstance(module, nn.BatchNorm2d) for module in net.modules()) else 1
    images = torch.randn(count, 3, side, side, generator=generator)
    if sum(parameter.numel() for parameter in net.parameters()) <= DOUBLE_UP_TO:
        net, images = net.double(), images.double()
    tolerance = TOLERANCE[images.dtype]
    growing = [group.name for group in found.coupling.groups if group.blended is None]
    row.cells |= {
        "px": str(side),
        "dtype": str(images.dtype).removeprefix("torch."),
        "grow": str(len(growing)),
        "start": str(len(found.widths) - len(growing)),
        "fixed": str(len({fixed.tensor for fixed in found.coupling.fixed})),
        "find_s": f"{seconds:.2f}",
    }
    optimizer = SLBI(_parameter_groups(net), lr=0.01, mu=10.0)
    _step(net, optimizer, images)
    # Statistics of one step let signals explode, and rounding with them.
    recalibrate(net, [torch.randn(8, 3, side, side, generator=generator).to(images)])
    before = _logits(net, images)

    # The same function, summed in another order: it shows every tie, and how far rounding goes.
    orders = {
        group: torch.randperm(width, generator=generator) for group, width in found.widths.items()
    }
    rounding = _change(_logits(resized(net, found, orders)[0], images), before)
    _judge(row, "shuffled", rounding, ROUNDING * tolerance)
    tolerance = max(tolerance, 10 * rounding)

    added = {name: max(1, math.ceil(found.widths[name] / 4)) for name in growing}
    wider = Widths({name: width + added.get(name, 0) for name, width in found.widths.items()})
    net, optimizer = widen(net, optimizer, wider, found=found, generator=generator)
    found = found.resized(wider)
    _judge(row, "widened", _change(_logits(net, images), before), tolerance)

    keep = {name: _random_mask(found.widths[name], generator) for name in growing}
    silent = _logits(masked(net, keep, found=found, silent=True), images)
    sliced = slice_filters(net, optimizer, keep, found=found)
    net, optimizer, found = sliced.net, sliced.optimizer, sliced.found
    logits = _logits(net, images)
    _judge(row, "sliced", _change(logits, silent), tolerance)

    again = _loaded(standard, whole, _saved(net, found))
    equal = torch.equal(_logits(again, images), logits)
    row.cells["loaded"] = "equal" if equal else "differs"
    if not equal:
        row.failed.append("loaded: differs")

    known = sum(parameter in optimizer.state for parameter in net.parameters())
    _step(net, optimizer, images)
    trained = sum(parameter.grad is not None for parameter in net.parameters())
    row.cells["state"] = f"{known}/{trained}"
    finite = all(parameter.isfinite().all() for parameter in net.parameters())
    if known != trained or not finite:
        row.failed.append(f"state: {known} of {trained} parameters, finite: {finite}")


def _found(name: str) -> tuple[nn.Module, Found, int, float]:
    """Return a network without data, its coupling, the side of its images and the seconds."""
    with _without_weights():
        net = torchvision.models.get_model(name, weights=None)
    refusals = []
    for side in SIDES:
        began = time.perf_counter()
        try:
            return net, find(net, (3, side, side)), side, time.perf_counter() - began
        except ValueError as error:
            refusals.append(str(error))
    raise ValueError(refusals[-1])


@contextmanager
def _without_weights() -> Iterator[None]:
    """Let every parameter that is made have its shape only; buffers have their data."""
    register = nn.Module.register_parameter

    def hollow(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        register(module, name, None if parameter is None else nn.Parameter(parameter.to("meta")))

    # torch has no switch for it: its own `torch.device("meta")` takes the data of buffers too.
    with patch.object(nn.Module, "register_parameter", hollow):
        yield


@torch.no_grad()
def _materialised(net: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return a network with uneven norms and random weights, in place of weights without data."""
    torch.manual_seed(generator.initial_seed())
    for module in net.modules():
        for name, parameter in module.named_parameters(recurse=False):
            filled = torch.empty_like(parameter, device="cpu")
            if filled.ndim > 1:
                filled.normal_(generator=generator).div_(math.sqrt(filled[0].numel()))
            else:
                low, high = (0.8, 1.2) if name == "weight" else (-0.1, 0.1)
                filled.uniform_(low, high, generator=generator)
            setattr(module, name, nn.Parameter(filled))
    return net


def _parameter_groups(net: nn.Module) -> list[dict[str, Any]]:
    weights = list(net.parameters())
    return [
        {"params": [w for w in weights if w.ndim > 2], "structure": "filter"},
        {"params": [w for w in weights if w.ndim == 2], "structure": "element"},
        {"params": [w for w in weights if w.ndim < 2], "structure": None},
    ]


def _step(net: nn.Module, optimizer: SLBI, images: Tensor) -> None:
    net.train()
    optimizer.zero_grad()
    labels = torch.arange(len(images))
    losses = [cross_entropy(logits, labels) for logits in _tensors(net(images))]
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call] # torch's own
    optimizer.step()


@torch.no_grad()
def _logits(net: nn.Module, images: Tensor) -> Tensor:
    return _tensors(net.eval()(images[:1]))[0]


def _tensors(output: Tensor | tuple[Tensor | None, ...]) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    return [part for part in output if part is not None]


def _change(logits: Tensor, before: Tensor) -> float:
    return float((logits - before).abs().max() / before.abs().max())


def _judge(row: Row, column: str, change: float, tolerance: float) -> None:
    row.cells[column] = f"{change:.0e}" if change else "0"
    if not change <= tolerance:  # NaN fails too.
        row.failed.append(f"{column}: {change:.1e} > {tolerance:.0e}")


def _random_mask(width: int, generator: torch.Generator) -> Tensor:
    mask = torch.rand(width, generator=generator) > 1 / 3
    mask[int(torch.randint(width, (1,), generator=generator))] = True
    return mask


def _saved(net: nn.Module, found: Found) -> bytes:
    file = io.BytesIO()
    torch.save({"widths": json.dumps(dict(found.widths)), "state": net.state_dict()}, file)
    return file.getvalue()


def _loaded(standard: nn.Module, whole: Found, saved: bytes) -> nn.Module:
    """Return a network that knows nothing of the one saved but its class, from its widths."""
    content: dict[str, Any] = torch.load(io.BytesIO(saved), weights_only=True)
    net, _ = rebuilt(standard, whole, Widths(json.loads(content["widths"])))
    net.load_state_dict(content["state"], assign=True)
    return net


if __name__ == "__main__":
    raise SystemExit(main())
