"""A network from a file of tensors alone: a state dict of torchvision, or of this project.

Nothing is unpickled: a `.pth` is read by torch's loader of weights alone, and only where the file
belongs to who runs this.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from worker.training import backbones
from worker.training.checkpoint import CheckpointError, described

PICKLED = (".pth", ".pt")
"""Ends of the names of files that torch wrote."""

_COUNTERS = ("num_batches_tracked", "counted")
"""Of a BatchNorm, which old files lack and only a momentum of None reads; and of a norm that counts
its filters, which published networks lack. Source: slbi/nets/counted.py."""

_INNER = "net."
"""Before the names of a network of another library. Source: slbi/nets/adapted.py."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrained:
    """A network with the weights of a file."""

    net: Backbone
    adapted: tuple[str, ...]
    """What of it is not as the file has it, for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """A network but for its widths."""

    backbone: str
    in_channels: int
    size: int
    classes: int
    stem: str

    def shapes(
        self, widths: Widths | None = None, *, channels: int = 0, classes: int = 0
    ) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor, with so many more channels and classes."""
        net = self.build(widths, channels=channels, classes=classes)
        return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}

    def build(
        self,
        widths: Widths | None,
        *,
        channels: int = 0,
        classes: int = 0,
        generator: torch.Generator | None = None,
        device: str = "meta",
    ) -> Backbone:
        """Return the network, without data unless a device is given."""
        return backbones.build(
            self.backbone,
            widths,
            in_channels=self.in_channels + channels,
            size=self.size,
            classes=self.classes + classes,
            stem=self.stem,
            generator=generator,
            device=device,
        )


def tells(path: Path) -> bool:
    """Return whether a file describes itself; one that torch wrote never does.

    Raises:
        CheckpointError: it is neither that nor a safetensors file.
    """
    return path.suffix not in PICKLED and described(path)


def read_tensors(path: Path, *, pickled: bool) -> dict[str, Tensor]:
    """Return the tensors of a file, on the CPU.

    Args:
        path: of a safetensors file, or of one that torch wrote.
        pickled: whether the latter may be read.

    Raises:
        CheckpointError: the file is none of those, or holds something else than tensors.
    """
    if path.suffix not in PICKLED:
        try:
            return load_file(path)
        except SafetensorError as error:
            raise CheckpointError(f"{path.name} must be a safetensors file: {error}") from error
    if not pickled:
        raise CheckpointError(f"{path.name} must be a safetensors file: others are read locally")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path.name} must hold tensors alone: {error}") from error
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise CheckpointError(f"{path.name} must hold a state dict: tensors by their names")
    return dict(state)


def pretrained(
    tensors: Mapping[str, Tensor],
    backbone: str,
    *,
    in_channels: int,
    size: int,
    classes: int,
    stem: str,
    generator: torch.Generator,
) -> Pretrained:
    """Return a backbone with the weights of a state dict, its widths read off their shapes.

    Two things may be other than in the file. A classifier of another number of classes begins anew.
    A first layer of 3 channels sums them for images of one, which answers to a grey image as it did
    to its three equal channels; one of 1 channel is shared out evenly.

    Args:
        tensors: by name, as torchvision or this project has it; "net." before it is not minded.
        backbone: name of the network.
        in_channels: of the images.
        size: of the images, px.
        classes: told apart.
        stem: standard, small or auto.
        generator: source of a classifier that begins anew.

    Raises:
        CheckpointError: a tensor is missing, is one too many, or has another shape; it is named.
        ValueError: an unknown backbone or an unsuitable size.

    Source: docs/decisions/0037.
    """
    kind = _Kind(backbone=backbone, in_channels=in_channels, size=size, classes=classes, stem=stem)
    standard = kind.shapes()
    given = _named(tensors, standard, backbone)
    widths = _widths(kind, given)
    expected = kind.shapes(widths)
    of_images = _differing(expected, kind.shapes(widths, channels=1))
    of_classes = _differing(expected, kind.shapes(widths, classes=1))
    taken: dict[str, Tensor] = {}
    fresh, adapted = [], []
    for name, tensor in given.items():
        wanted, got = expected[name], tuple(tensor.shape)
        if wanted == got:
            taken[name] = tensor
        elif name in of_classes and wanted[1:] == got[1:] and len(got) > 0:
            fresh.append(name)
        elif name in of_images and (other := _other_channels(tensor, wanted)) is not None:
            taken[name] = other
            adapted.append(_told_channels(name, got[1], wanted[1]))
        else:
            raise CheckpointError(f"tensor {name!r} must be of shape {wanted}, got {got}")
    if fresh:
        first = given[fresh[0]].shape[0]
        adapted.append(
            f"{', '.join(sorted(fresh))}: begun anew, for {classes} classes instead of {first}"
        )
    net = kind.build(widths, generator=generator, device="cpu")
    net.load_state_dict({**net.state_dict(), **taken, **_kept_whole(of_classes, fresh, net)})
    return Pretrained(net=net, adapted=tuple(adapted))


def _kept_whole(of_classes: frozenset[str], fresh: list[str], net: Backbone) -> dict[str, Tensor]:
    """Return the classifier's initial tensors if any of them begins anew: all of them do then."""
    own = net.state_dict()
    return {name: own[name] for name in of_classes} if fresh else {}


def _named(
    tensors: Mapping[str, Tensor], known: Mapping[str, tuple[int, ...]], backbone: str
) -> dict[str, Tensor]:
    """Return the tensors by the names that the network has."""
    given = {}
    for name, tensor in tensors.items():
        given[name if name in known else f"{_INNER}{name}"] = tensor
    missing = [name for name in known if name not in given and not name.endswith(_COUNTERS)]
    if missing:
        raise CheckpointError(
            f"a {backbone} must hold a tensor {missing[0].removeprefix(_INNER)!r}, the file does "
            f"not; {len(missing)} of {len(known)} are missing"
        )
    surplus = [name.removeprefix(_INNER) for name in given if name not in known]
    if surplus:
        raise CheckpointError(
            f"a {backbone} must hold no tensors but its own, the file has {', '.join(surplus[:3])}"
            f"{' and others' if len(surplus) > 3 else ''}"
        )
    return {name: given[name] for name in known if name in given}


def _widths(kind: _Kind, given: Mapping[str, Tensor]) -> Widths:
    """Return how many filters each group has in the file, by a tensor that it alone makes."""
    like = kind.build(None)
    coupling = like.coupling()
    axes = coupling.by_axis()
    widths = dict(like.widths)
    for group in coupling.groups:
        for tie in group.ties:
            alone = len(axes[tie.tensor, tie.axis]) == 1 and tie.role == "producer"
            if alone and tie.tensor in given:
                widths[group.name] = _filters(tie.tensor, given[tie.tensor], tie.axis, tie.block)
                break
    return Widths(widths)


def _filters(name: str, tensor: Tensor, axis: int, block: int) -> int:
    """Return how many filters of some entries an axis of a tensor holds."""
    entries = tensor.shape[axis] if tensor.ndim > axis else 0
    if entries < block or entries % block:
        raise CheckpointError(
            f"tensor {name!r} must hold whole filters of {block} along axis {axis}, "
            f"got the shape {tuple(tensor.shape)}"
        )
    return entries // block


def _differing(
    one: Mapping[str, tuple[int, ...]], other: Mapping[str, tuple[int, ...]]
) -> frozenset[str]:
    return frozenset(name for name in one if one[name] != other[name])


def _other_channels(tensor: Tensor, wanted: tuple[int, ...]) -> Tensor | None:
    """Return a first layer for other channels, (O, I, H, W); None if there is no such layer."""
    got = tuple(tensor.shape)
    if len(got) != len(wanted) or got[:1] + got[2:] != wanted[:1] + wanted[2:]:
        return None
    if wanted[1] == 1:
        return tensor.sum(dim=1, keepdim=True)
    if got[1] == 1:
        return (tensor / wanted[1]).expand(wanted).contiguous()
    return None


def _told_channels(name: str, before: int, after: int) -> str:
    if after == 1:
        return f"{name}: summed over its {before} channels, for images of 1"
    return f"{name}: its one channel shared out over the {after} of the images"
