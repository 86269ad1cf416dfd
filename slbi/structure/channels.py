"""How many channels each layer reads and makes, read off its weight."""

from collections.abc import Mapping

from torch import Tensor


def channels(parameters: Mapping[str, Tensor]) -> dict[str, int]:
    """Return "layer.in" and "layer.out" of every weight of rank 2 or more.

    Args:
        parameters: by name. A leading "module.", which data parallelism adds, is left out.
    """
    counts = {}
    for name, parameter in parameters.items():
        layer, _, kind = name.removeprefix("module.").rpartition(".")
        if kind == "weight" and parameter.ndim >= 2:
            counts[f"{layer}.in"] = parameter.shape[1]
            counts[f"{layer}.out"] = parameter.shape[0]
    return counts
