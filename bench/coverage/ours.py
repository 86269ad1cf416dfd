"""What this project makes of one network.

Its coupling is found, its LayerNorms count where a stream under one is to grow, it is narrowed to
an eighth, trained a step with SLBI, widened by a quarter in every group, sliced by a third at
random, saved, loaded into a network that only its name and its widths rebuild, written as ONNX and
run by onnxruntime, and trained another step with the optimizer that was carried all the way.
"""

import copy
import io
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from bench.coverage import memory, networks
from slbi.export.onnx import INPUT, to_onnx
from slbi.growth.narrow import narrow, start_widths
from slbi.growth.widen import widen
from slbi.nets.graph.resize import rebuilt, resized
from slbi.nets.widths import Widths
from slbi.optim.optimizer import SLBI
from slbi.pruning.mask import masked
from slbi.pruning.recalibrate import recalibrate
from slbi.pruning.slice import slice_filters

DOUBLE_UP_TO = 50_000_000
"""Parameters up to which a network is tried in float64; the time of larger ones is held down."""

ROUNDING = 100
"""How many times the tolerance rounding alone may carry the logits of a deep network."""

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
"""Largest change of a logit relative to the largest logit. Source: docs/method.md, "Coupling"."""

ONNX_TOLERANCE = 1e-4
"""The same between torch and onnxruntime, both in float32, which sum in other orders."""


@dataclass(kw_only=True, slots=True)
class Row:
    """What came out for one network. Changes of logits are relative to the largest logit."""

    tool: str = "slbi"
    model: str
    px: int | None = None
    dtype: str | None = None
    grow: int | None = None
    """Groups that grow."""
    start: int | None = None
    """Groups that keep the width they start with."""
    fixed: int | None = None
    """Tensors with entries that stay."""
    find_seconds: float | None = None
    shuffled: float | None = None
    """Change of a logit when all filters are put into another order: rounding alone."""
    widened: float | None = None
    sliced: float | None = None
    """Change of a logit against masking."""
    known: int | None = None
    """Parameters of which the optimizer still has the state."""
    tensors: int | None = None
    """Parameters that are trained."""
    loaded: bool | None = None
    """Whether the network rebuilt from name and widths gives the same logits, bit for bit."""
    onnx: float | None = None
    """Change of a logit between torch and onnxruntime."""
    onnx_cpu_seconds: float | None = None
    peak_mb: int | None = None
    """Most memory that the process had since the row began, 10^6 bytes."""
    cpu_seconds: float | None = None
    """Of one core, the search included; what else the machine did meanwhile does not count."""
    seconds: float | None = None
    """On the clock."""
    failed: list[str] = field(default_factory=list)
    """Columns that did not come out as they must."""

    def judge(self, column: str, change: float, tolerance: float) -> None:
        """Write down a change of a logit, in place, and whether it is too much."""
        setattr(self, column, change)
        if not change <= tolerance:  # NaN fails too.
            self.failed.append(f"{column}: {change:.1e} > {tolerance:.0e}")


def tried(name: str, *, seed: int) -> Row:
    """Return what comes of a network; whatever is raised on the way is in the row."""
    row = Row(model=name)
    memory.forget_peak()
    began, used = time.perf_counter(), time.process_time()
    try:
        _try(row, seed)
    except Exception as error:  # noqa: BLE001 -- the next network must still be tried
        row.failed.append(f"{type(error).__name__}: {str(error)[:300]}")
    row.seconds = round(time.perf_counter() - began, 1)
    row.cpu_seconds = round(time.process_time() - used, 1)
    row.peak_mb = memory.peak_mb()
    return row


def _try(row: Row, seed: int) -> None:
    trial = _Trial(row, seed)
    trial.narrow()
    trial.shuffle()
    trial.widen()
    trial.slice()
    trial.load()
    trial.export()
    trial.train_on()


class _Trial:
    """One network on its way, with its optimizer and its coupling."""

    net: nn.Module
    optimizer: SLBI
    images: Tensor
    tolerance: float

    def __init__(self, row: Row, seed: int) -> None:
        self.row = row
        self.seed = seed
        self.generator = torch.Generator().manual_seed(seed)
        found = networks.found(row.model)
        self.standard, self.whole, self.found = found.net, found.found, found.found
        self.shape = (3, found.side, found.side)
        row.px, row.find_seconds = found.side, round(found.seconds, 2)

    def narrow(self) -> None:
        """Make the network that the growth starts from, and train it a step."""
        self.found = self.whole.resized(start_widths(self.whole, ratio=1 / 8, minimum=2))
        net = narrow(self.standard, self.found.widths, found=self.whole)
        # Not `seed` itself: of images that begin like the weights, rounding makes more.
        drawn = int(torch.randint(2**31, (1,), generator=self.generator))
        self.net = networks.materialised(net, drawn)
        normed = any(isinstance(module, _BatchNorm) for module in net.modules())
        # A BatchNorm of one pixel cannot be trained on one image.
        self.images = torch.randn(1 + normed, *self.shape, generator=self.generator)
        if sum(parameter.numel() for parameter in net.parameters()) <= DOUBLE_UP_TO:
            self.net, self.images = net.double(), self.images.double()
        self.tolerance = TOLERANCE[self.images.dtype]
        self.growing = [g.name for g in self.found.coupling.groups if g.blended is None]
        self.row.dtype = str(self.images.dtype).removeprefix("torch.")
        self.row.grow = len(self.growing)
        self.row.start = len(self.found.widths) - len(self.growing)
        self.row.fixed = len({fixed.tensor for fixed in self.found.coupling.fixed})
        self.optimizer = SLBI(_parameter_groups(self.net), lr=0.01, mu=10.0)
        torch.manual_seed(self.seed)  # of dropout
        _step(self.net, self.optimizer, self.images)
        if normed:
            # Statistics of one step, of blocks dropped at random, or of other images alone let
            # signals explode, and rounding with them.
            others = torch.randn(8, *self.shape, generator=self.generator).to(self.images)
            recalibrate(self.net.eval(), [torch.cat([self.images, others])])
        self.before = _logits(self.net, self.images)

    def shuffle(self) -> None:
        """Sum in another order: it shows every tie, and how far rounding goes."""
        orders = {
            group: torch.randperm(width, generator=self.generator)
            for group, width in self.found.widths.items()
        }
        shuffled, _ = resized(self.net, self.found, orders)
        rounding = _change(_logits(shuffled, self.images), self.before)
        self.row.judge("shuffled", rounding, ROUNDING * self.tolerance)
        self.tolerance = max(self.tolerance, 10 * rounding)

    def widen(self) -> None:
        """Widen every group by a quarter."""
        added = {name: max(1, math.ceil(self.found.widths[name] / 4)) for name in self.growing}
        wider = Widths(
            {name: width + added.get(name, 0) for name, width in self.found.widths.items()}
        )
        self.net, self.optimizer = widen(
            self.net, self.optimizer, wider, found=self.found, generator=self.generator
        )
        self.found = self.found.resized(wider)
        self.row.judge(
            "widened", _change(_logits(self.net, self.images), self.before), self.tolerance
        )

    def slice(self) -> None:
        """Remove a third of the filters of every group, at random."""
        keep = {name: self._random_mask(self.found.widths[name]) for name in self.growing}
        silent = _logits(masked(self.net, keep, found=self.found, silent=True), self.images)
        sliced = slice_filters(self.net, self.optimizer, keep, found=self.found)
        self.net, self.optimizer, self.found = sliced.net, sliced.optimizer, sliced.found
        self.logits = _logits(self.net, self.images)
        self.row.judge("sliced", _change(self.logits, silent), self.tolerance)

    def load(self) -> None:
        """Save it, and load it into a network that knows nothing of it but its class."""
        file = io.BytesIO()
        widths = json.dumps(dict(self.found.widths))
        torch.save({"widths": widths, "state": self.net.state_dict()}, file)
        file.seek(0)
        content: dict[str, Any] = torch.load(file, weights_only=True)
        again, _ = rebuilt(self.standard, self.whole, Widths(json.loads(content["widths"])))
        again.load_state_dict(content["state"], assign=True)
        self.row.loaded = torch.equal(_logits(again, self.images), self.logits)
        if not self.row.loaded:
            self.row.failed.append("loaded: differs")

    def export(self) -> None:
        """Write it as ONNX, in float32, and let onnxruntime say the same."""
        used = time.process_time()
        single, image = copy.deepcopy(self.net).float().eval(), self.images[:1].float()
        with TemporaryDirectory() as folder:
            path = Path(folder, "network.onnx")
            to_onnx(single, self.shape, path)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(path, options)
        (said, *_) = session.run(None, {INPUT: image.numpy()})
        change = _change(torch.from_numpy(said), _logits(single, image))
        self.row.judge("onnx", change, ONNX_TOLERANCE)
        self.row.onnx_cpu_seconds = round(time.process_time() - used, 1)

    def train_on(self) -> None:
        """Train a step with the optimizer that was carried all the way."""
        known = sum(parameter in self.optimizer.state for parameter in self.net.parameters())
        _step(self.net, self.optimizer, self.images)
        trained = sum(parameter.grad is not None for parameter in self.net.parameters())
        self.row.known, self.row.tensors = known, trained
        finite = all(parameter.isfinite().all() for parameter in self.net.parameters())
        if known != trained or not finite:
            self.row.failed.append(f"state: {known} of {trained} parameters, finite: {finite}")

    def _random_mask(self, width: int) -> Tensor:
        mask = torch.rand(width, generator=self.generator) > 1 / 3
        mask[int(torch.randint(width, (1,), generator=self.generator))] = True
        return mask


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
