"""A network as data: its graph in JSON, its weights beside it, and the few lines that run it."""

import json
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from slbi.export.load import ATEN, FORMAT, PLAIN, TEXTS
from slbi.export.program import exported
from slbi.export.tensors import write_tensors
from slbi.export.whole import whole

NETWORK, WEIGHTS, LOADER = "network.json", "weights.safetensors", "load.py"

_CHECKS = frozenset(
    {"aten._assert_tensor_metadata.default", "aten._assert_scalar.default"}
)  # torch.export notes what it took for granted; nothing is computed by them


def to_network(net: nn.Module, shape: tuple[int, ...], folder: Path) -> None:
    """Write a network as `network.json`, `weights.safetensors` and the `load.py` that runs them.

    The weights have the names that they have in the network; what its `state_dict` leaves out, such
    as a table of positions, lies there too. It predicts what the network predicts, bit for bit on
    the same machine, if the network's memory is laid out as is usual (no channels last).

    Args:
        net: see `slbi.export.program.exported`.
        shape: of one input, without the batch.
        folder: that exists; files of these names are replaced.

    Raises:
        ValueError: it cannot be traced, or has an operator that is none of ATen.
    """
    write_network(exported(net, shape), folder)


def write_network(program: ExportedProgram, folder: Path) -> None:
    """Write what was traced, as `to_network` does."""
    graph = described(program)
    with whole(folder / WEIGHTS) as file:
        write_tensors({**program.state_dict, **_constants(program)}, file)
    with whole(folder / NETWORK) as file:
        file.write_text(json.dumps(graph, allow_nan=False) + "\n", encoding="utf-8")
    with whole(folder / LOADER) as file:
        file.write_bytes(files("slbi.export").joinpath(LOADER).read_bytes())


def described(program: ExportedProgram) -> Mapping[str, Any]:
    """Return what was traced as JSON can say it, for `slbi.export.load` to run.

    Raises:
        ValueError: a node is no operator of ATen, or takes what cannot be said.
    """
    given = _given(program)
    nodes = [
        node
        for node in program.graph.nodes
        if node.op == "call_function" and str(node.target) not in _CHECKS
    ]
    (output,) = program.graph.output_node().args[0]  # `exported` saw to it
    last = _last_uses(nodes, keep=output)
    (images,) = (said["node"] for said in given.values() if "node" in said)
    return {
        "format": FORMAT,
        "torch": torch.__version__,
        "input": images,
        "output": output.name,
        "nodes": [
            {
                "name": node.name,
                "op": _operator(node),
                "args": [_said(arg, node, given) for arg in node.args],
                "kwargs": {key: _said(arg, node, given) for key, arg in node.kwargs.items()},
                "last": last[node.name],
            }
            for node in nodes
        ],
    }


def _given(program: ExportedProgram) -> Mapping[str, Mapping[str, str]]:
    """Return placeholder -> how it is said: a weight of a name, or the images."""
    found = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            found[spec.arg.name] = {"node": spec.arg.name}
        else:
            found[spec.arg.name] = {"weight": str(spec.target)}
    return found


def _constants(program: ExportedProgram) -> Mapping[str, Tensor]:
    """Return the tensors that a graph reads and no `state_dict` holds."""
    return {name: each for name, each in program.constants.items() if isinstance(each, Tensor)}


def _last_uses(nodes: list[Node], *, keep: Node) -> Mapping[str, list[str]]:
    """Return node -> the nodes whose values nothing behind it reads."""
    reader = {}
    for node in nodes:
        for each in (node, *node.all_input_nodes):
            if each.op == "call_function" and each is not keep:
                reader[each.name] = node.name
    last: dict[str, list[str]] = {node.name: [] for node in nodes}
    for name, by in reader.items():
        last[by].append(name)
    return last


def _operator(node: Node) -> str:
    """Return the name of a node's operator, as `slbi.export.load` resolves it."""
    target = node.target
    if isinstance(target, OpOverload) and ATEN.fullmatch(str(target)):
        return str(target)
    name = getattr(target, "__name__", str(target))
    if PLAIN.get(name) is target:
        return str(name)
    raise ValueError(f"{node.name} must be an operator of ATen, it is {target}")


def _said(value: Any, node: Node, given: Mapping[str, Mapping[str, str]]) -> Any:  # noqa: ANN401 -- whatever operators take
    """Return an argument as JSON can say it."""
    if isinstance(value, Node):
        return given.get(value.name, {"node": value.name})
    if isinstance(value, list | tuple):
        return [_said(each, node, given) for each in value]
    if isinstance(value, str) and str(node.target) in TEXTS:
        return value
    if value is None or isinstance(value, bool | int | float):
        finite = not isinstance(value, float) or math.isfinite(value)
        return value if finite else {"float": str(value)}
    if isinstance(value, torch.device):
        return {"device": value.type}
    if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
        return {"torch": str(value).removeprefix("torch.")}
    raise ValueError(f"what {node.name} takes must be sayable in JSON, got {value!r}")
