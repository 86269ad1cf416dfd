"""What this project's own norms cost, against torch's.

`python -m bench.norms`

A LayerNorm whose filters count: one norm, forward and backward; a training pass of ConvNeXt-tiny
at a quarter of its widths. A BatchNorm of few channels: one norm, and a training pass of the two
backbones of `bench.family` at some shares of their multiply-accumulates.
Both in turns, one thread, time of the processor, median. The change of a logit is the largest
relative to the largest, of the same network in float32 with the one norm and with the other.
"""

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from statistics import median

import torch
import torchvision.models
from torch import Tensor, nn

from bench.family.networks import NAMES, Standard
from slbi.growth.narrow import narrow, start_widths
from slbi.nets.counted import CountedLayerNorm
from slbi.nets.graph.counted import counted
from slbi.nets.graph.find import find
from slbi.nets.norms import NARROW, NarrowNorm, narrow_norms

SHAPE = (3, 64, 64)
BATCH = 16
IMAGES = 128
"""Images of a step where channels are few."""

SHARES = (0.02, 0.05, 0.12, 0.25)
"""Parts of a backbone's multiply-accumulates."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for the norm and one for the network."""
    parser = argparse.ArgumentParser(prog="python -m bench.norms", description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, one thread")
    _head("counted")
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
    print(f"\nlargest change of a logit: {change:.0e}, {len(small)} groups\n")
    _head("narrow")
    for side, channels in product((28, 14), (*NARROW, NARROW.stop, NARROW.stop + 1)):
        x = _images(channels, side).requires_grad_()
        name = f"one norm, ({IMAGES}, {channels}, {side}, {side})"
        _show(name, nn.BatchNorm2d(channels), NarrowNorm(channels), x, options.repeats)
    for backbone, share in product(NAMES, SHARES):
        standard = Standard(backbone, channels=1, size=28, classes=10)
        widths = standard.uniform(*standard.limits((share,)))
        plain = standard.fresh(widths, torch.Generator().manual_seed(0))
        other = copy.deepcopy(plain)
        with narrow_norms(other):
            x = _images(1, 28)
            _show(f"{backbone} at {share:.0%}, {IMAGES} images", plain, other, x, options.repeats)
    return 0


def _head(which: str) -> None:
    print(f"| what | torch's, ms | {which}, ms | ratio |")
    print("|---|---|---|---|")


def _images(channels: int, side: int) -> Tensor:
    drawn = torch.randn(IMAGES, channels, side, side)
    return drawn.contiguous(memory_format=torch.channels_last)


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
