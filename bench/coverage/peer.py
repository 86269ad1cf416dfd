"""The same prune by Torch-Pruning, one network a process: it is known not to come back from some.

`python -m bench.coverage.peer NAME SIDE` prints one line of JSON. Torch-Pruning gets what `ours`
gives to this project: a network and an image, nothing about the model; what makes the classes is
left alone (any layer with 1,000 outputs, so that heads aside count too). A third of every group
that it finds goes, at random. Networks of more parameters than `WHOLE_UP_TO` are narrowed first, to
a quarter of the filters, so that time and memory are not what fails.
"""

import argparse
import copy
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
import torch_pruning as tp
from torch import nn

from bench.coverage import networks
from slbi.growth.narrow import narrow, start_widths
from slbi.nets.graph.find import find

WHOLE_UP_TO = 100_000_000
"""Parameters up to which the published network itself is pruned."""

CPU_LIMIT_S = 60
"""Seconds of one core from the beginning of the prune to the last check; a busy machine does not
count."""

WALL_LIMIT_S = 600
"""Seconds on the clock, imports and all, in case it waits instead of computing."""

CLASSES = 1000
SHARE = 1 / 3


@dataclass(kw_only=True, slots=True)
class PeerRow:
    """What Torch-Pruning made of one network."""

    tool: str = "torch-pruning"
    model: str
    whole: bool = True
    """Whether the published network was pruned, not a narrow one."""
    params_before: int | None = None
    params_after: int | None = None
    forward: bool | None = None
    """Whether it gives logits in evaluation, the mode in which it was pruned."""
    trains: bool | None = None
    """Whether it gives them in training, all heads, with gradients."""
    known: int | None = None
    """Parameters of the pruned network that the optimizer made before still drives."""
    tensors: int | None = None
    """All its parameters."""
    stock_loads: bool | None = None
    """Whether the class that it came from takes its state."""
    seconds: float | None = None
    """Of the prune alone."""
    failed: str | None = None
    """Why it did not come through, in one line."""


def tried(name: str, side: int) -> PeerRow:
    """Return what comes of a network in a process of its own."""
    command = [sys.executable, "-m", "bench.coverage.peer", name, str(side)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=WALL_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return PeerRow(model=name, failed=f"no end in {WALL_LIMIT_S} s")
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        return PeerRow(**json.loads(lines[-1]))
    if done.returncode < 0:
        return PeerRow(model=name, failed=f"no end in {CPU_LIMIT_S} s of one core")
    told = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
    return PeerRow(model=name, failed=told[-1][:200])


def main(argv: Sequence[str] | None = None) -> int:
    """Prune one network and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.coverage.peer", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("side", type=int, help="side of an image, px")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(json.dumps(asdict(_pruned(options.name, options.side))))
    return 0


def _pruned(name: str, side: int) -> PeerRow:
    row = PeerRow(model=name)
    net = networks.standard(name)
    if sum(parameter.numel() for parameter in net.parameters()) > WHOLE_UP_TO:
        row.whole = False
        found = find(net, (3, side, side))
        net = narrow(net, start_widths(found, ratio=1 / 4, minimum=8), found=found)
    stock = net
    net = networks.materialised(copy.deepcopy(net), seed=0).eval()
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    row.params_before = sum(parameter.numel() for parameter in net.parameters())
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + CPU_LIMIT_S, int(used) + CPU_LIMIT_S + 5))
    try:
        _prune(row, net, image)
        _checked(row, net, image, stock, optimizer)
    except Exception as error:  # noqa: BLE001 -- whatever fails there is what is asked
        told = (str(error).strip() or "no message").splitlines()[0]
        row.failed = f"{type(error).__name__}: {told[:160]}"
    return row


def _prune(row: PeerRow, net: nn.Module, image: torch.Tensor) -> None:
    heads = [
        module
        for module in net.modules()
        if CLASSES in {getattr(module, "out_features", 0), getattr(module, "out_channels", 0)}
    ]
    torch.manual_seed(0)
    began = time.perf_counter()
    pruner = tp.pruner.BasePruner(
        net,
        image,
        importance=tp.importance.RandomImportance(),
        pruning_ratio=SHARE,
        ignored_layers=heads,
    )
    pruner.step()
    row.seconds = round(time.perf_counter() - began, 2)


def _checked(
    row: PeerRow,
    net: nn.Module,
    image: torch.Tensor,
    stock: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    own = list(net.parameters())
    driven = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    row.params_after = sum(parameter.numel() for parameter in own)
    row.tensors = len(own)
    row.known = sum(id(parameter) in driven for parameter in own)
    try:
        stock.load_state_dict(net.state_dict(), assign=True)
        row.stock_loads = True
    except RuntimeError:
        row.stock_loads = False
    row.forward = row.trains = False
    with torch.no_grad():
        row.forward = tuple(net(image).shape) == (1, CLASSES)
    row.trains = _trains(net, image)
    if not row.forward:
        row.failed = "its forward pass gives another shape"
    elif row.params_before is not None and row.params_after >= row.params_before:
        row.failed = "nothing was removed"


def _trains(net: nn.Module, image: torch.Tensor) -> bool:
    try:
        said = net.train()(torch.cat((image, image.flip(-1))))
        heads = [said] if isinstance(said, torch.Tensor) else [head for head in said if head.ndim]
        torch.stack([head.square().mean() for head in heads]).sum().backward()  # type: ignore[no-untyped-call] # torch's own
    except RuntimeError:
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
