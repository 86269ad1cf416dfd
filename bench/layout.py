"""What the memory layout of the images costs: a training pass, plain and channels last, in turns.

`python -m bench.layout --threads 1`
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

from slbi.nets import backbones
from slbi.nets.widths import Widths

LAYOUTS = {"plain": torch.contiguous_format, "channels last": torch.channels_last}
"""What is compared."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each backbone and width."""
    parser = argparse.ArgumentParser(prog="python -m bench.layout", description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16, 32, 56])
    parser.add_argument("--backbones", nargs="+", default=["vgg11", "resnet20"])
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, batch {options.batch}, 28 px")
    print("| backbone | filters a group | plain, ms | channels last, ms | plain / channels last |")
    print("|---|---|---|---|---|")
    for name in options.backbones:
        for width in options.widths:
            passes = {key: _training_pass(name, width, key, options.batch) for key in LAYOUTS}
            plain, last = _medians(passes, options.repeats)
            print(
                f"| {name} | {width} | {1e3 * plain:.1f} | {1e3 * last:.1f} | {plain / last:.2f} |",
                flush=True,
            )
    return 0


def _training_pass(name: str, width: int, layout: str, batch: int) -> Callable[[], None]:
    """Return a forward and backward pass of a network of one width."""
    net = backbones.build(
        name,
        Widths(dict.fromkeys(backbones.groups(name, 28), width)),
        in_channels=1,
        size=28,
        classes=10,
        generator=torch.Generator().manual_seed(0),
    )
    net.to(memory_format=LAYOUTS[layout])
    images = torch.randn(batch, 1, 28, 28).contiguous(memory_format=LAYOUTS[layout])

    def run() -> None:
        net.zero_grad()
        net(images).logsumexp(1).mean().backward()

    return run


def _medians(passes: dict[str, Callable[[], None]], repeats: int) -> list[float]:
    """Return the median seconds of each pass, measured in turns after one warm turn."""
    seconds: dict[str, list[float]] = {key: [] for key in passes}
    for turn in range(repeats + 1):
        for key, run in passes.items():
            begun = time.perf_counter()
            run()
            if turn:
                seconds[key].append(time.perf_counter() - begun)
    return [median(values) for values in seconds.values()]


if __name__ == "__main__":
    raise SystemExit(main())
