"""A finished model as the start of another run: its network, and in which order it came about."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
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


def start_from(source: Source, backbone: str, data: Data) -> Started:
    """Return the network of a source, on the CPU.

    Raises:
        CheckpointError: the file is no network of this backbone.
        ValueError: it does not take the images of the data set, or tells other classes apart.
    """
    if described(source.checkpoint):
        net, description = load(source.checkpoint)
        if net.name != backbone:
            raise CheckpointError(f"the source must be a {backbone}, it is a {net.name}")
        entry = {group: torch.tensor(epochs) for group, epochs in description.entry.items()}
    else:
        net, entry = _bare(source.checkpoint, backbone, data.size), {}
    classes = len(data.train.classes)
    ours = (data.channels, data.size, classes)
    theirs = (net.in_channels, net.size, net.classes)
    if ours != theirs:
        raise ValueError(
            "the source must suit the data set, whose images have "
            f"{ours[0]} channels, {ours[1]} px and {ours[2]} classes; it takes {theirs[0]} "
            f"channels and {theirs[1]} px and tells {theirs[2]} classes apart"
        )
    if source.order is not None:
        orders = load_file(source.order)
        known = set(net.widths) | {name for name, _ in net.named_parameters()}
        entry |= {name: order.to(torch.int64) for name, order in orders.items() if name in known}
    return Started(net=net, entry=_fitting(net, entry))


def _fitting(net: Backbone, entry: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the entries of the shape of their group or weight: others are of a wider network."""
    weights = dict(net.named_parameters())
    return {
        name: epochs
        for name, epochs in entry.items()
        if tuple(epochs.shape)
        == ((net.widths[name],) if name in net.widths else tuple(weights[name].shape))
    }


def _bare(path: Path, backbone: str, size: int) -> Backbone:
    """Return the network whose tensors a file holds, its widths read off their shapes."""
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 -- no mapping
        tensors = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} must be a safetensors file: {error}") from error
    like = backbones.build(backbone, in_channels=1, size=size, classes=2, device="meta")
    widths = {}
    for group in like.coupling().groups:
        name = group.tensors("producer")[0]
        if name not in shapes:
            raise CheckpointError(f"a {backbone} must hold a tensor {name!r}, the file does not")
        widths[group.name] = shapes[name][0]
    first, last = like.sketch()[0].name, like.sketch()[-1].name
    for name in (f"{first}.weight", f"{last}.weight"):
        if len(shapes.get(name, ())) < 2:
            raise CheckpointError(f"a {backbone} must hold a tensor {name!r}, the file does not")
    net = backbones.build(
        backbone,
        Widths(widths),
        in_channels=shapes[f"{first}.weight"][1],
        size=size,
        classes=shapes[f"{last}.weight"][0],
    )
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"the file must hold the tensors of a {backbone}: {error}") from error
    return net
