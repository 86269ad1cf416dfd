"""What a step of SLBI costs, as a ratio to torch's SGD (foreach), measured interleaved in one run.

Run: python -m bench.optimizer [--repeats 40] [--threads 1] [--device cpu]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from slbi import SLBI

VGG11 = (64, 128, 256, 256, 512, 512, 512, 512)
"""Filters of the eight convolutions of the standard VGG-11."""

LR = 1e-4
MOMENTUM = 0.9


def parameters(widths: tuple[int, ...], device: str) -> list[nn.Parameter]:
    """Return the weights, with gradients, of a VGG: convolutions with BatchNorm, one classifier."""
    generator = torch.Generator().manual_seed(0)
    shapes: list[tuple[int, ...]] = []
    for reads, makes in zip((3, *widths), widths, strict=False):
        shapes += [(makes, reads, 3, 3), (makes,), (makes,)]
    shapes += [(10, widths[-1]), (10,)]
    made = []
    for shape in shapes:
        tensor = nn.Parameter((0.05 * torch.randn(shape, generator=generator)).to(device))
        tensor.grad = (0.01 * torch.randn(shape, generator=generator)).to(device)
        made.append(tensor)
    return made


def with_twins(tensors: list[nn.Parameter]) -> SLBI:
    """Return an SLBI with a twin by filter for every convolution; some filters are selected."""
    groups: list[dict[str, Any]] = [
        {"params": [t for t in tensors if t.ndim == 4], "structure": "filter"},
        {"params": [t for t in tensors if t.ndim != 4]},
    ]
    optimizer = SLBI(groups, LR, mu=1000.0, momentum=MOMENTUM)
    optimizer.step()
    generator = torch.Generator().manual_seed(1)
    for tensor in tensors:
        if tensor.ndim == 4:
            z = torch.randn(tensor.shape, generator=generator).to(tensor)
            optimizer.state[tensor]["z"].copy_(z / z[0].numel() ** 0.5)
    return optimizer


def seconds(call: Callable[[], object], calls: int, device: str) -> float:
    """Return the time of one call, the mean of `calls`, in seconds."""
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / calls


def compare(name: str, widths: tuple[int, ...], device: str, repeats: int) -> None:
    """Print the medians of interleaved steps and their ratios to torch's SGD."""
    sgd = torch.optim.SGD(parameters(widths, device), LR, momentum=MOMENTUM, foreach=True)
    loop = torch.optim.SGD(parameters(widths, device), LR, momentum=MOMENTUM, foreach=False)
    plain = SLBI(parameters(widths, device), LR, momentum=MOMENTUM)
    twins = with_twins(parameters(widths, device))
    steps: dict[str, Callable[[], object]] = {
        "torch SGD, foreach": sgd.step,
        "torch SGD, one by one": loop.step,
        "SLBI, all plain": plain.step,
        "SLBI, twins by filter": twins.step,
    }
    calls = 1 if sum(t.numel() for t in parameters(widths, "cpu")) > 10**6 else 10
    times: dict[str, list[float]] = {label: [] for label in steps}
    for _ in range(repeats):
        for label, step in steps.items():
            times[label].append(seconds(step, calls, device))
    base = statistics.median(times["torch SGD, foreach"])
    for label, taken in times.items():
        middle = statistics.median(taken)
        print(f"{name:10s} {label:24s} {middle * 1e3:8.3f} ms  ratio {middle / base:5.2f}")


def main() -> None:
    """Compare at the standard widths of VGG-11 and at an eighth of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    compare("vgg11", VGG11, arguments.device, arguments.repeats)
    compare("vgg11 / 8", tuple(w // 8 for w in VGG11), arguments.device, arguments.repeats)


if __name__ == "__main__":
    main()
