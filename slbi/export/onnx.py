"""A network as one ONNX file."""

from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from slbi.export.program import exported
from slbi.export.whole import whole

OPSET = 18
"""Version of the operators. torch writes its translations for this one and converts to later ones;
it is the earliest that it writes, so the most runtimes read it (onnxruntime from 1.14 on)."""

INPUT, OUTPUT = "images", "logits"
"""What the file calls what it takes, (batch, *shape), and what it gives, (batch, classes)."""

LARGEST_BYTES = 1536 * 1024**2
"""Weights that fit in one file. A protobuf ends at 2 GiB, and torch would split it from here on."""


def to_onnx(net: nn.Module, shape: tuple[int, ...], path: Path, *, opset: int = OPSET) -> None:
    """Write a network as one ONNX file, its weights inside, for any number of images.

    Args:
        net: see `slbi.export.program.exported`.
        shape: of one input, without the batch.
        path: in a folder that exists; a file of that name is replaced, at the end and at once.
        opset: version of ONNX's operators, 18 or more.

    Raises:
        ValueError: it cannot be traced, has an operator that ONNX lacks, or does not fit in a file.
    """
    write_onnx(exported(net, shape), path, opset=opset)


def write_onnx(program: ExportedProgram, path: Path, *, opset: int = OPSET) -> None:
    """Write what was traced, as `to_onnx` does."""
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size > LARGEST_BYTES:
        raise ValueError(f"an ONNX file must hold at most {LARGEST_BYTES} bytes, got {size}")
    if opset < OPSET:
        raise ValueError(f"opset must be {OPSET} or more, got {opset}")
    try:
        made = torch.onnx.export(
            program,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=opset,
            dynamic_shapes=({0: "batch"},),  # traced already; this names the axis
            external_data=False,
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ValueError(f"a network must be one that ONNX can say: {error}") from error
    if made is None:  # as torch types it; with these arguments it returns a program
        raise RuntimeError("torch.onnx.export returned nothing")
    with whole(path) as file:
        made.save(file, external_data=False)
