"""Rebuild a network from `network.json` and `weights.safetensors`, with torch and nothing else.

    from load import load
    network = load("the folder of the two files")
    logits = network(images)  # (N, classes) of (N, channels, side, side), for any N

Nothing in the files is executed: torch's own ATen operators are called, those that the graph names,
and what else it names is refused. This file stands alone and may be copied on.
"""

import json
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

FORMAT = 1
ATEN = re.compile(r"aten\.([a-z][a-z0-9_]*)\.([A-Za-z0-9_]+)")
PLAIN = {name: getattr(operator, name) for name in ("add", "floordiv", "getitem", "mul", "sub")}
TEXTS = frozenset({"aten.einsum.default", "aten.gelu.default", "aten.pad.default"})
"""Operators that take a text. None of them takes it for the name of a file, as `from_file` does."""
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def load(folder: str | Path, device: str = "cpu") -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function from images to logits. ValueError: the files say what they must not."""
    graph = json.loads(Path(folder, "network.json").read_text(encoding="utf-8"))
    if graph["format"] != FORMAT:
        raise ValueError(f"network.json must be of format {FORMAT}, got {graph['format']!r}")
    weights = read_weights(Path(folder, "weights.safetensors"), device)
    steps = []
    for node in graph["nodes"]:
        call = _operator(node["op"])
        args = _reader(node["args"], node["op"], weights, device)
        kwargs = _reader(list(node["kwargs"].values()), node["op"], weights, device)
        steps.append((node, call, args, kwargs))

    def network(images: torch.Tensor) -> torch.Tensor:
        values: dict[str, Any] = {graph["input"]: images}
        for node, call, args, kwargs in steps:
            named = dict(zip(node["kwargs"], kwargs(values), strict=True))
            values[node["name"]] = call(*args(values), **named)
            for done in node["last"]:  # what no later node reads
                del values[done]
        logits: torch.Tensor = values[graph["output"]]
        return logits

    return network


def read_weights(path: Path, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file by name."""
    content, weights = path.read_bytes(), {}
    start = 8 + int.from_bytes(content[:8], "little")
    for name, entry in json.loads(content[8:start]).items():
        if name != "__metadata__":
            first, last = (start + offset for offset in entry["data_offsets"])
            tensor = torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]])
            if tensor.nbytes != last - first or last > len(content):
                raise ValueError(f"{name} must have {tensor.nbytes} bytes, got {last - first}")
            if tensor.nbytes:
                piece = torch.frombuffer(bytearray(content[first:last]), dtype=tensor.dtype)
                tensor.copy_(piece.view(tensor.shape))
            weights[name] = tensor.to(device)
    return weights


def _operator(name: str) -> Callable[..., Any]:
    found = ATEN.fullmatch(name)
    if found is None and name not in PLAIN:
        raise ValueError(f"an operator must be one of aten, got {name!r}")
    call: Callable[..., Any]
    call = getattr(getattr(torch.ops.aten, found[1]), found[2]) if found else PLAIN[name]
    return call


def _reader(
    said: Any,  # noqa: ANN401 -- whatever JSON can say
    op: str,
    weights: dict[str, torch.Tensor],
    device: str,
) -> Callable[[dict[str, Any]], Any]:
    """Return what gives an argument once the values before it are there."""
    if isinstance(said, list):
        parts = [_reader(each, op, weights, device) for each in said]
        return lambda values: [part(values) for part in parts]
    if isinstance(said, str) and op not in TEXTS:
        raise ValueError(f"{op} must take no text, got {said!r}")
    if isinstance(said, dict):
        ((kind, name),) = said.items()
        if kind == "node":
            return operator.itemgetter(name)
        said = weights[name] if kind == "weight" else _constant(kind, name, device)
    return lambda _: said


def _constant(kind: str, name: str, device: str) -> Any:  # noqa: ANN401 -- whatever operators take
    if kind in {"float", "device"}:
        return float(name) if kind == "float" else torch.device(device)
    constant = getattr(torch, name, None) if kind == "torch" else None
    if not isinstance(constant, torch.dtype | torch.layout | torch.memory_format):
        raise ValueError(f"a constant must be a float, a device or a type of torch, got {name!r}")  # noqa: TRY004 -- the file is wrong, not the call
    return constant
