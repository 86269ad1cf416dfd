"""One trace of a network, from which every form is made."""

import copy

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.fx import Node

BATCH = 2
"""Images of the traced pass. One alone would be taken for a constant by torch.export."""

_OF_THIS_MACHINE = ("stack_trace",)
"""What a node remembers of the files that the network was made by. It would travel with it."""


def exported(net: nn.Module, shape: tuple[int, ...]) -> ExportedProgram:
    """Return a network's forward pass as a graph of ATen operators, for any number of images.

    It is traced as in evaluation, on the CPU; the network itself is left as it is.

    Args:
        net: takes one tensor (N, *shape) and returns one, (N, classes).
        shape: of one input, without the batch, e.g. (3, 32, 32).

    Raises:
        ValueError: torch.export cannot trace it for every N, or it returns something else.
    """
    still = copy.deepcopy(net).cpu().eval().requires_grad_(requires_grad=False)
    images = torch.zeros(BATCH, *shape, dtype=_precision(still))
    try:
        with torch.no_grad():
            program = export(still, (images,), dynamic_shapes=({0: Dim.DYNAMIC},))
    except Exception as error:
        raise ValueError(
            f"a network must be traceable by torch.export on inputs of shape {shape}, in any "
            f"number, got {type(error).__name__}: {error}"
        ) from error
    _check_output(program)
    _forget_places(program)
    return program


def _precision(net: nn.Module) -> torch.dtype:
    """Return what the weights are; float32 of a network that has none."""
    return next((weight.dtype for weight in net.parameters()), torch.float32)


def _check_output(program: ExportedProgram) -> None:
    """Refuse what returns anything but one tensor, (N, …)."""
    told = "a network must return one tensor with a row for every image"
    returned = program.graph.output_node().args[0]
    outputs = returned if isinstance(returned, tuple) else (returned,)
    values = [node.meta["val"] for node in outputs if isinstance(node, Node)]
    if len(outputs) != 1 or len(values) != 1 or not isinstance(values[0], Tensor):
        raise ValueError(f"{told}, got {len(outputs)} outputs")
    if values[0].ndim < 1 or isinstance(values[0].shape[0], int):
        raise ValueError(f"{told}, got the shape {tuple(values[0].shape)} for any number of images")


def _forget_places(program: ExportedProgram) -> None:
    """Remove from a graph where on this machine its code lies, in place."""
    for node in program.graph.nodes:
        for name in _OF_THIS_MACHINE:
            node.meta.pop(name, None)
