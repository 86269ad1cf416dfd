"""The model card: what a stranger must know of a network, as Markdown."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from slbi.export.onnx import OPSET
from slbi.nets.backbone import Backbone
from slbi.structure.path import GrowthRecord, PathList
from worker.training.checkpoint import Description
from worker.training.data.normalise import Normalisation
from worker.training.data.sources import SOURCES

TITLE = "card.md"
"""Of the file that every export has."""

_NAMED = 20
"""Classes that are named; of a thousand, the first ones do."""

_UNKNOWN = "unknown: the file does not tell"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """A file of the network."""

    format: str
    title: str
    bytes: int
    checked_by: str | None
    """What ran it; None: it was not run."""
    difference: float | None
    """Largest difference of a logit relative to the largest one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a card tells."""

    net: Backbone
    dataset: str
    """As the source tells, or as who sent it says."""
    normalisation: Normalisation
    about: Description | None
    """What the file says of itself; None where it says nothing."""
    test_accuracy: float | None
    """0 to 1; None where the test split was not read."""
    path: PathList | None
    """Of the run that made it, where there is one."""
    latency_ms: float
    """Median of one image, measured by this run."""
    device: str
    """On which that was."""
    threads: int
    """Threads of torch meanwhile."""
    files: Sequence[Exported]


def card(facts: Facts) -> str:
    """Return the card."""
    net = facts.net
    parts = [
        f"# {net.name} on {facts.dataset}",
        _origin(facts.about),
        "## Data",
        _data(facts),
        "## Metrics",
        _metrics(facts),
        "## Network",
        _network(facts),
        "## Path",
        _path(facts),
        "## Files",
        _files(facts.files),
        "## How to load it",
        _loading(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def device_name(device: torch.device) -> str:
    """Return what a device is, for people: the GPU's name, or the processor's and its cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor() or platform.machine()}, {os.cpu_count()} cores"


def _processor() -> str | None:
    """Return the processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else None


def _origin(about: Description | None) -> str:
    if about is None:
        return "A network that somebody sent; its file does not tell how it came about."
    return f"{about.origin[:1].upper()}{about.origin[1:]} ({about.kind}), made by slbi."


def _data(facts: Facts) -> str:
    source, about = SOURCES.get(facts.dataset), facts.about
    if source is None:
        named, licence = f"`{facts.dataset}`, a folder of images", "unknown"
    else:
        named, licence = f"`{facts.dataset}`: {source.title}", source.licence
    lines = [
        f"- Data set: {named}",
        f"- Licence of the data: {licence}",
        f"- Images: {facts.net.in_channels} x {facts.net.size} x {facts.net.size}",
    ]
    if about is None:
        return "\n".join([*lines, f"- Split: {_UNKNOWN}", f"- Classes: {facts.net.classes}"])
    share, seed = about.config["data"]["validation"], about.config["compute"]["seed"]
    images = "the training images" if source is None else f"the {source.train} training images"
    named = ", ".join(about.class_names[:_NAMED]) + ", …" * (len(about.class_names) > _NAMED)
    lines += [
        f"- Split: a share of {share:g} of {images}, drawn in every class with the seed {seed}, "
        "was held out to decide by (validation); the test split is the data set's own"
        + ("." if source else ", or a fifth of a folder that has none."),
        f"- Classes: {facts.net.classes} ({named})",
    ]
    return "\n".join(lines)


def _metrics(facts: Facts) -> str:
    rows = [("validation accuracy", _UNKNOWN), ("test accuracy", "not read")]
    if facts.about is not None:
        accuracy = facts.about.metrics["validation_accuracy"]
        rows[0] = ("validation accuracy", f"{accuracy:.4f}, by which it may have been chosen")
    if facts.test_accuracy is not None:
        rows[1] = ("test accuracy", f"{facts.test_accuracy:.4f}, read once, at the run's end")
    return _table(("metric", "value"), rows)


def _network(facts: Facts) -> str:
    net = facts.net
    params, macs = net.cost()
    on = f"{facts.threads} thread(s) of torch {torch.__version__}, {facts.device}"
    rows = [
        ("backbone", net.name),
        ("parameters", f"{params}"),
        ("MACs of one image", f"{macs}"),
        ("latency of one image", f"{facts.latency_ms:.3f} ms, median, {on}"),
        ("widths", ", ".join(f"{group} {width}" for group, width in net.widths.items())),
    ]
    return _table(("", ""), rows)


def _path(facts: Facts) -> str:
    path, about = facts.path, facts.about
    if path is None or about is None or not path.step_records:
        return "Unknown: the path of the run that made it did not come with it."
    steps = [step for step in path.step_records if step.step <= about.step]
    # A member of a round is written before the round's end widens its network.
    growth = [row for row in path.growth_records if row.step < about.step]
    rounds = len({step.round for step in steps if step.phase == "grow"})
    epochs = max((step.epoch for step in steps), default=0)
    told = f"Epochs: {epochs}. Steps of the optimizer: {about.step}. Rounds of growth: {rounds}."
    if not growth:
        return f"{told} No layer was widened."
    names = {layer.index: layer.name for layer in path.layer_records}
    return f"{told}\n\n{_growth(growth, names)}"


def _growth(growth: Sequence[GrowthRecord], names: Mapping[int, str]) -> str:
    return _table(
        ("round", "step", "layer", "from", "to", "why"),
        [
            (
                str(row.round),
                str(row.step),
                names[row.layer],
                str(row.before),
                str(row.after),
                row.reason,
            )
            for row in growth
        ],
    )


def _files(files: Sequence[Exported]) -> str:
    rows = [
        (
            file.title,
            file.format,
            str(file.bytes),
            "not checked"
            if file.difference is None
            else f"{file.difference:.1e} of the largest logit, run by {file.checked_by}",
        )
        for file in files
    ]
    return _table(("file", "format", "bytes", "differs from the network by"), rows) if rows else ""


def _loading(facts: Facts) -> str:
    net, normal = facts.net, facts.normalisation
    blocks = [
        f"""`pixels` are (N, {net.in_channels}, {net.size}, {net.size}), 0 to {normal.peak}, N free:

```python
import numpy

mean = numpy.array({list(normal.mean)}).reshape(-1, 1, 1)
deviation = numpy.array({list(normal.deviation)}).reshape(-1, 1, 1)
images = ((pixels / {normal.peak} - mean) / deviation).astype("float32")
```"""
    ]
    blocks += [_BLOCKS[file.format] for file in facts.files if file.format in _BLOCKS]
    return "\n\n".join(blocks)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


_BLOCKS: Mapping[str, str] = {
    "onnx": f"""ONNX (opset {OPSET}, one file, free batch), here by onnxruntime:

```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(logits,) = session.run(["logits"], {{"images": images}})
```""",
    "pt2": """torch.export:

```python
import torch

logits = torch.export.load("model.pt2").module()(torch.from_numpy(images))
```""",
    "torch": """As data, with torch alone; `load.py` in the archive runs the graph:

```python
import sys
import zipfile

import torch

zipfile.ZipFile("model.zip").extractall("model")
sys.path.insert(0, "model")
from load import load

logits = load("model")(torch.from_numpy(images))
```""",
}
"""Format -> how its file is loaded; tests/worker/training/export/test_card.py runs each."""
