"""A network as a file of torch.export."""

from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from slbi.export.program import exported
from slbi.export.whole import whole


def to_pt2(net: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """Write a network as torch.export does, for any number of images.

    `torch.export.load(path).module()` reads it, by torch of the same version or a later one.

    Args:
        net: see `slbi.export.program.exported`.
        shape: of one input, without the batch.
        path: in a folder that exists; a file of that name is replaced, at the end and at once.

    Raises:
        ValueError: it cannot be traced.
    """
    write_pt2(exported(net, shape), path)


def write_pt2(program: ExportedProgram, path: Path) -> None:
    """Write what was traced, as `to_pt2` does."""
    with whole(path) as file:
        torch.export.save(program, file)
