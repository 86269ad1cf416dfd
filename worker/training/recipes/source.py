"""A finished model as the start of another run: its network, and in which order it came about."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.nets.sketch import CHANNELS, CLASSES
from slbi.nets.widths import Widths
from slbi.structure.order import NEVER
from worker.training import backbones
from worker.training.checkpoint import CheckpointError, described, load
from worker.training.data.load import Data
from worker.training.plans import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """A network that a run starts from."""

    net: Backbone
    entry: Mapping[str, Tensor]
    """Group, or weight whose entries enter singly -> epoch of the first entry, -1 for never."""


def start_from(source: Source, backbone: str, stem: str, data: Data) -> Started:
    """Return the network of a source, on the CPU.

    The stem is for files of tensors alone; others tell theirs.

    The entry order is that of its own description, and beside it that of the run's file: of single
    weights, and of groups that the description leaves out. A group whose weights entered singly
    entered with the first of them.

    Raises:
        CheckpointError: a file is no network of this backbone, or no entry order.
        ValueError: it does not take the images of the data set, or tells other classes apart.
    """
    if described(source.checkpoint):
        net, description = load(source.checkpoint)
        if net.name != backbone:
            raise CheckpointError(f"the source must be a {backbone}, it is a {net.name}")
        entry = {group: torch.tensor(epochs) for group, epochs in description.entry.items()}
    else:
        net, entry = _bare(source.checkpoint, backbone, stem, data.size), {}
    classes = len(data.train.classes)
    ours = (data.channels, data.size, classes)
    theirs = (net.in_channels, net.size, net.classes)
    if ours != theirs:
        raise ValueError(
            f"the source must suit the data set {data.name!r}, whose images have "
            f"{ours[0]} channels, {ours[1]} px and {ours[2]} classes; it takes {theirs[0]} "
            f"channels and {theirs[1]} px and tells {theirs[2]} classes apart"
        )
    if source.order is not None:
        # The file is of the run; a sliced member's own description knows which filters are left.
        entry = _fitting(net, _orders(source.order)) | entry
    return Started(net=net, entry=_first_weights(net, entry) | entry)


def _orders(path: Path) -> dict[str, Tensor]:
    """Return what a file of entry orders holds, int64.

    Raises:
        CheckpointError: it is no safetensors file.
    """
    try:
        return {name: epochs.to(torch.int64) for name, epochs in load_file(path).items()}
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} must be a safetensors file: {error}") from error


def _fitting(net: Backbone, entry: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the entries of the shape of their group or weight: others are of a wider network."""
    shapes = {name: tuple(weight.shape) for name, weight in net.named_parameters()}
    shapes |= {group: (width,) for group, width in net.widths.items()}
    return {
        name: epochs for name, epochs in entry.items() if tuple(epochs.shape) == shapes.get(name)
    }


def _first_weights(net: Backbone, entry: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return for groups whose weights have entries the first of each filter's, (O,).

    Source: docs/method.md, "Growth": a filter is selected with the first of its entries.
    """
    found = {}
    for group in net.coupling().groups:
        single = [entry[name].flatten(1) for name in group.tensors("producer") if name in entry]
        if single:
            epochs = torch.cat(single, dim=1)  # (O, entries)
            late = torch.iinfo(epochs.dtype).max
            first = epochs.masked_fill(epochs == NEVER, late).amin(dim=1)
            found[group.name] = first.masked_fill(first == late, NEVER)
    return found


def _bare(path: Path, backbone: str, stem: str, size: int) -> Backbone:
    """Return the network whose tensors a file holds, its widths read off their shapes."""
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 -- no mapping
        tensors = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} must be a safetensors file: {error}") from error
    like = backbones.build(backbone, in_channels=1, size=size, classes=2, stem=stem, device="meta")
    widths = _widths(like, shapes)
    layers = like.outline().layers
    first = next(layer.name for layer in layers if CHANNELS in dict(layer.reads.terms))
    last = next(layer.name for layer in layers if CLASSES in dict(layer.makes.terms))
    for name in (f"{first}.weight", f"{last}.weight"):
        if len(shapes.get(name, ())) < 2:
            raise CheckpointError(f"a {backbone} must hold a tensor {name!r}, the file does not")
    net = backbones.build(
        backbone,
        widths,
        in_channels=shapes[f"{first}.weight"][1],
        size=size,
        classes=shapes[f"{last}.weight"][0],
        stem=stem,
    )
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"the file must hold the tensors of a {backbone}: {error}") from error
    return net


def _widths(like: Backbone, shapes: Mapping[str, tuple[int, ...]]) -> Widths:
    """Return the widths of a network of which the shapes of its tensors are known.

    Raises:
        CheckpointError: a tensor that makes filters is missing, or is of no network of this kind.
    """
    axes = like.coupling().by_axis()
    widths = {}
    for group in like.coupling().groups:
        makers = [tie for tie in group.ties if tie.role == "producer"]
        # Where a tensor makes the filters of several groups, its length does not tell them apart.
        tie = next((t for t in makers if len(axes[t.tensor, t.axis]) == 1), makers[0])
        length = shapes.get(tie.tensor, ())[tie.axis : tie.axis + 1]
        if not length:
            raise CheckpointError(
                f"a {like.name} must hold a tensor {tie.tensor!r}, the file does not"
            )
        standard = like.get_parameter(tie.tensor).shape[tie.axis]
        width, left = divmod(length[0] - standard + like.widths[group.name] * tie.block, tie.block)
        if left or width < 1:
            raise CheckpointError(f"{tie.tensor!r} of a {like.name} cannot have {length[0]} rows")
        widths[group.name] = width
    return Widths(widths)
