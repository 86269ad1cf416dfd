"""On what a run computes, how precisely, and where each of its random numbers comes from."""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from worker.training.config import ComputeConfig

Purpose = Literal[
    "weights", "split", "order", "augment", "growth", "optimizer", "recalibrate", "rival",
    "transfer", "picture", "dropout", "initial",
]  # fmt: skip
"""What random numbers are for. Each purpose draws from a generator of its own, so that e.g. a
change of augmentation leaves the initial weights as they were."""

_SAFE = 8  # filters from which oneDNN is safe behind one input channel, see `convolutions`


@dataclass(frozen=True, kw_only=True, slots=True)
class Compute:
    """A device and the precision of its forward pass."""

    device: torch.device
    precision: Literal["float32", "bfloat16"]

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the forward pass runs."""
        if self.precision == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def place(self, net: nn.Module) -> None:
        """Move a network to the device, channels last, in place.

        Channels last is the faster layout on both devices. Source: docs/decisions/0010.
        """
        net.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads leave this keyword out

    def arrange(self, images: Tensor) -> Tensor:
        """Return (N, C, H, W) images in the layout of the networks that `place` moved."""
        return images.contiguous(memory_format=torch.channels_last)


def resolve(config: ComputeConfig) -> Compute:
    """Return what a run computes on.

    Raises:
        ValueError: CUDA is asked for and there is none.
    """
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        raise ValueError("device must be 'auto' or 'cpu' where there is no CUDA device, got 'cuda'")
    name = "cuda" if cuda and config.device != "cpu" else "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"
    if config.precision == "bfloat16" or (config.precision == "auto" and name == "cuda"):
        precision = "bfloat16"
    return Compute(device=torch.device(name), precision=precision)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let torch use `count` CPU threads, None for its own number, and give back what was set."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether memory was lacking: CUDA has a class for it, the CPU's allocator only words."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "DefaultCPUAllocator" in str(error)


def generator(seed: int, purpose: Purpose) -> torch.Generator:
    """Return the CPU generator of one purpose of a run."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextmanager
def convolutions(net: nn.Module, compute: Compute) -> Iterator[None]:
    """Keep a network's convolutions safe.

    On one thread, oneDNN corrupts the heap in a convolution from one input channel to 3 to 7
    filters (seen on torch 2.2 and 2.15). A network that holds one runs without oneDNN: at its stem,
    or where slicing has left a single filter to read.
    """
    narrow = any(
        module.in_channels == 1 and module.out_channels < _SAFE
        for module in net.modules()
        if isinstance(module, nn.Conv2d)
    )
    if not narrow or compute.device.type != "cpu":
        yield
        return
    # Not `flags()`: it sets TF32 as well, which warns on a CPU.
    before = bool(torch.backends.mkldnn.enabled)
    setattr(torch.backends.mkldnn, "enabled", False)  # noqa: B010 -- a property torch leaves untyped
    try:
        yield
    finally:
        setattr(torch.backends.mkldnn, "enabled", before)  # noqa: B010 -- likewise
