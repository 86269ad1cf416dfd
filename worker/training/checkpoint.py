"""One member of a family as one safetensors file, its description in the file's own metadata.

A stranger with this project, torch and safetensors rebuilds a member so:

    import json
    from safetensors import safe_open
    from safetensors.torch import load_file
    from worker.training.backbones import build
    from slbi.nets.widths import Widths
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["slbi"])
    shape = {key: about[key] for key in ("in_channels", "size", "classes", "stem")}
    net = build(about["backbone"], Widths(about["widths"]), **shape).eval()
    net.load_state_dict(load_file(path))

The network takes (pixel / peak - mean) / deviation, channel by channel, see "normalisation".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialise

from slbi.nets.backbone import Backbone
from slbi.nets.widths import Widths
from worker.training import backbones
from worker.training.data.normalise import Normalisation
from worker.training.files import Mark, unmarked, write_whole

FORMAT = 1
"""Version of the description; raised when a reader of the old one would misread the new."""

_KEY = "slbi"


class CheckpointError(ValueError):
    """A file is no checkpoint, or not one that this version reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a checkpoint says about itself, beside its tensors."""

    backbone: str
    widths: Mapping[str, int]
    """Filters of every group, in the order of the data."""
    in_channels: int
    size: int
    """Side of the images, px."""
    classes: int
    class_names: tuple[str, ...]
    dataset: str
    normalisation: Normalisation
    kind: str
    """How it came about, see `worker.training.recorder.ModelKind`."""
    origin: str
    """What the member is, for people."""
    step: int
    """Optimizer steps of the run when it was written."""
    metrics: Mapping[str, float]
    """validation_accuracy (0 to 1), latency_ms, params, macs."""
    config: Mapping[str, Any]
    """The whole config of the run."""
    entry: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Group -> for every filter the epoch at which it was first selected, -1 for never; groups that
    nothing selected are left out."""
    stem: str = "standard"
    """Which stem the backbone has, standard or small; files of before there were two do not say."""
    format: int = FORMAT


def save(path: Path, net: Backbone, description: Description, *, mark: Mark = unmarked) -> None:
    """Write a checkpoint that is either whole or absent, even if the machine stops meanwhile.

    Args:
        path: in a folder that exists; a file of that name is replaced.
        net: the member.
        description: of that member.
        mark: called around each step of writing the file.

    Raises:
        NoSpaceError: there is no room for it.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}
    about = json.dumps(asdict(description))
    write_whole(path, serialise(tensors, metadata={_KEY: about}), flow="publish", mark=mark)


def load(path: Path, device: torch.device | str = "cpu") -> tuple[Backbone, Description]:
    """Return the network of a checkpoint, in eval mode, and its description.

    Raises:
        CheckpointError: the file is none, is of another format, or its tensors do not fit.
        FileNotFoundError: there is no such file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} must be a safetensors file: {error}") from error
    description = _read_description(path, metadata.get(_KEY))
    net = _build(path, description)
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} must hold the tensors of {description.backbone} with its widths: {error}"
        ) from error
    return net.to(device).eval(), description


def described(path: Path) -> bool:
    """Return whether a safetensors file describes itself, as `save` has it.

    Raises:
        CheckpointError: the file is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return _KEY in (file.metadata() or {})
    except SafetensorError as error:
        raise CheckpointError(f"{path} must be a safetensors file: {error}") from error


def _read_description(path: Path, text: str | None) -> Description:
    try:
        about = json.loads(text or "null")
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} must hold JSON under its key {_KEY!r}: {error}") from error
    version = about.get("format") if isinstance(about, dict) else None
    if version != FORMAT:
        raise CheckpointError(f"{path} must be of format {FORMAT}, got {version!r}")
    needed = {
        each.name
        for each in fields(Description)
        if each.default is MISSING and each.default_factory is MISSING
    }
    known = {each.name for each in fields(Description)}
    missing, surplus = sorted(needed - set(about)), sorted(set(about) - known)
    if missing or surplus:
        told = [*(f"{name} missing" for name in missing), *(f"{name} surplus" for name in surplus)]
        raise CheckpointError(f"{path} must describe itself as format {FORMAT}: {', '.join(told)}")
    normalisation = about.pop("normalisation")
    return Description(
        normalisation=Normalisation(
            mean=tuple(normalisation["mean"]),
            deviation=tuple(normalisation["deviation"]),
            peak=normalisation["peak"],
        ),
        class_names=tuple(about.pop("class_names")),
        **about,
    )


def _build(path: Path, description: Description) -> Backbone:
    try:
        return backbones.build(
            description.backbone,
            Widths(dict(description.widths)),
            in_channels=description.in_channels,
            size=description.size,
            classes=description.classes,
            stem=description.stem,
        )
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} must describe a known network: {error}") from error
