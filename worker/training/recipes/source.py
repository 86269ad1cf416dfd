"""A finished model as the start of another run: its network, and in which order it came about."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.structure.order import NEVER
from worker.training import backbones
from worker.training.checkpoint import CheckpointError, Description, load
from worker.training.data.load import Data
from worker.training.plans import Source
from worker.training.pretrained import Pretrained, pretrained, read_tensors, tells


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """A network that a run starts from."""

    net: Backbone
    entry: Mapping[str, Tensor]
    """Group, or weight whose entries enter singly -> epoch of the first entry, -1 for never."""
    adapted: Sequence[str] = ()
    """What of it is not as its file has it, for people."""


def start_from(
    source: Source, backbone: str, data: Data, *, stem: str, generator: torch.Generator
) -> Started:
    """Return the network of a source, on the CPU.

    One whose file holds tensors alone is made to suit the data set, see `pretrained`; `stem` is
    its, where auto also takes the other one if the tensors fit that alone, and `generator` is the
    source of a classifier that begins anew.

    The entry order is that of its own description, and beside it that of the run's file: of single
    weights, and of groups that the description leaves out. A group whose weights entered singly
    entered with the first of them.

    Raises:
        CheckpointError: a file is no network of this backbone, or no entry order.
        ValueError: it does not take the images of the data set, or tells other classes apart.
    """
    adapted: Sequence[str] = ()
    own = own_network(source, backbone)
    if own is not None:
        net, description = own
        entry = {group: torch.tensor(epochs) for group, epochs in description.entry.items()}
    else:
        found = _bare(source, backbone, data, stem, generator)
        net, entry, adapted = found.net, {}, found.adapted
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
    return Started(net=net, entry=_first_weights(net, entry) | entry, adapted=adapted)


def told(config: Any, source: Source | None) -> dict[str, Any]:  # noqa: ANN401 - each kind has its own
    """Return a config as JSON can say it; files go by what they hold, not by where they lie."""
    said = asdict(config)
    if source is None:
        return said
    files = {}
    for name, path in (("checkpoint", source.checkpoint), ("order", source.order)):
        if path is not None:
            with path.open("rb") as file:
                files[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return {**said, "source": files}


def own_network(source: Source, backbone: str) -> tuple[Backbone, Description] | None:
    """Return the network of a file that describes itself; None if the file does not.

    Raises:
        CheckpointError: it is of another backbone, or no network at all.
    """
    if not tells(source.checkpoint):
        return None
    net, description = load(source.checkpoint)
    if net.name != backbone:
        raise CheckpointError(f"the source must be a {backbone}, it is a {net.name}")
    return net, description


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


def _bare(
    source: Source, backbone: str, data: Data, stem: str, generator: torch.Generator
) -> Pretrained:
    """Return the network of a file that holds tensors alone."""
    tensors = read_tensors(source.checkpoint, pickled=source.local)
    first = backbones.stem_of(backbone, stem, data.size)
    others = backbones.stems(backbone) if stem == "auto" else ()
    refusal = None
    for candidate in dict.fromkeys((first, *others)):
        try:
            return pretrained(
                tensors,
                backbone,
                in_channels=data.channels,
                size=data.size,
                classes=len(data.train.classes),
                stem=candidate,
                generator=generator,
            )
        except CheckpointError as error:
            refusal = refusal or error
    raise refusal or CheckpointError(f"{source.checkpoint.name} must fit a {backbone}")
