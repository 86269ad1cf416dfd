"""What a LayerNorm whose filters count costs, against torch's own, which has a kernel for it.

`python -m bench.norms`

One norm, forward and backward; and a training pass of ConvNeXt-tiny at a quarter of its widths.
Both in turns, one thread, time of the processor, median. The change of a logit is the largest
relative to the largest, of the same network in float32 with the one norm and with the other.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import torch
import torchvision.models
from torch import Tensor, nn

from slbi.growth.narrow import narrow, start_widths
from slbi.nets.counted import CountedLayerNorm
from slbi.nets.graph.counted import counted
from slbi.nets.graph.find import find

SHAPE = (3, 64, 64)
BATCH = 16


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for the norm and one for the network."""
    parser = argparse.ArgumentParser(prog="python -m bench.norms", description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, one thread")
    print("| what | plain, ms | counted, ms | ratio |")
    print("|---|---|---|---|")
    x = torch.randn(32, 28, 28, 96, requires_grad=True)
    _show("one norm, (32, 28, 28, 96)", nn.LayerNorm(96), CountedLayerNorm(96), x, options.repeats)
    net = torchvision.models.convnext_tiny(weights=None)
    found = find(net, SHAPE)
    small = start_widths(found, ratio=1 / 4)
    plain = narrow(net, small, found=found)
    counting, _ = counted(plain, SHAPE)
    x = torch.randn(BATCH, *SHAPE)
    _show("ConvNeXt-tiny, a quarter, 16 images of 64 px", plain, counting, x, options.repeats)
    with torch.no_grad():
        before, after = plain.eval()(x), counting.eval()(x)
    change = float((after - before).abs().max() / before.abs().max())
    print(f"\nlargest change of a logit: {change:.0e}, {len(small)} groups")
    return 0


def _show(what: str, plain: nn.Module, other: nn.Module, x: Tensor, repeats: int) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for net, taken in zip((plain, other), times, strict=True):
            taken.append(_seconds(partial(_training_pass, net, x)))
    first, second = (1e3 * median(taken) for taken in times)
    print(f"| {what} | {first:.1f} | {second:.1f} | {second / first:.2f} |", flush=True)


def _training_pass(net: nn.Module, x: Tensor) -> None:
    net(x).sum().backward()


def _seconds(call: Callable[[], None]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


if __name__ == "__main__":
    raise SystemExit(main())
