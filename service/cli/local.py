"""The commands that need no service: one for each kind of run, here and now."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.follow import Screen
from service.cli.installed import offered
from service.cli.notes import Notes
from service.cli.overrides import spec_of

_Dataset = Annotated[
    str, typer.Argument(help="digits, fashion-mnist, mnist, cifar10, ..., or a folder's name.")
]
_Backbone = Annotated[str, typer.Argument(help="lenet5, vgg11, resnet20, ...")]
_Checkpoint = Annotated[
    Path,
    typer.Argument(
        help="A network: a safetensors file, or torchvision's .pth.", exists=True, dir_okay=False
    ),
]
_OwnDataset = Annotated[
    str | None, typer.Argument(help="Whose images; that which the checkpoint names.")
]
_OwnBackbone = Annotated[
    str | None, typer.Option("--backbone", help="That which the checkpoint names.")
]
_Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="A field of the spec, e.g. optim.learning_rate=0.01."
    ),
]
_DataDirs = Annotated[
    list[Path] | None,
    typer.Option(
        "--data-dir",
        help="Where data sets are looked for; may be repeated. Default: data, /usr/share/datasets.",
    ),
]
_Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the files.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, a line a record.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Start:
    """What a run starts from."""

    checkpoint: Path
    order: Path | None = None


def grow(
    dataset: _Dataset,
    backbone: _Backbone,
    *,
    settings: _Settings = None,
    data_dir: _DataDirs = None,
    output: _Output = Path("grown"),
    as_json: _AsJson = False,
) -> None:
    """Grow a network here and now, without any service, e.g. `slbi grow digits vgg11`."""
    spec = spec_of({"dataset": dataset, "backbone": backbone}, None, settings or [])
    _run("grow", spec, data_dir, output, as_json=as_json)


def train(
    dataset: _Dataset,
    backbone: _Backbone,
    *,
    settings: _Settings = None,
    data_dir: _DataDirs = None,
    output: _Output = Path("trained"),
    as_json: _AsJson = False,
) -> None:
    """Train a network of fixed widths with SLBI here and now, e.g. `slbi train digits vgg11`."""
    spec = spec_of({"dataset": dataset, "backbone": backbone}, None, settings or [])
    _run("train", spec, data_dir, output, as_json=as_json)


def weights(
    dataset: _Dataset,
    backbone: _Backbone,
    *,
    settings: _Settings = None,
    data_dir: _DataDirs = None,
    output: _Output = Path("weights"),
    as_json: _AsJson = False,
) -> None:
    """Select single weights here and now and tune them, e.g. `slbi weights digits vgg11`."""
    spec = spec_of({"dataset": dataset, "backbone": backbone}, None, settings or [])
    _run("weights", spec, data_dir, output, as_json=as_json)


def ticket(
    dataset: _Dataset,
    backbone: _Backbone,
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            help="Search in this network, a safetensors file or torchvision's .pth.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    settings: _Settings = None,
    data_dir: _DataDirs = None,
    output: _Output = Path("ticket"),
    as_json: _AsJson = False,
) -> None:
    """Find a winning ticket and compare it here and now, e.g. `slbi ticket digits vgg11`."""
    spec = spec_of({"dataset": dataset, "backbone": backbone}, None, settings or [])
    start = None if source is None else _Start(checkpoint=source)
    _run("ticket", spec, data_dir, output, as_json=as_json, start=start)


def prune(
    checkpoint: _Checkpoint,
    dataset: _OwnDataset = None,
    *,
    backbone: _OwnBackbone = None,
    order: Annotated[
        Path | None,
        typer.Option(
            help="order.safetensors of the run that made it, for single weights.", exists=True
        ),
    ] = None,
    settings: _Settings = None,
    data_dir: _DataDirs = None,
    output: _Output = Path("pruned"),
    as_json: _AsJson = False,
) -> None:
    """Prune a network here and now: `slbi prune NET.safetensors --set pruning.percent=50`."""
    spec = spec_of({"dataset": dataset, "backbone": backbone}, None, settings or [])
    start = _Start(checkpoint=checkpoint, order=order)
    _run("prune", spec, data_dir, output, as_json=as_json, start=start)


def visualise(
    checkpoint: _Checkpoint,
    dataset: _OwnDataset = None,
    *,
    backbone: _OwnBackbone = None,
    layers: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="Of which layers; every convolution by default."),
    ] = None,
    settings: _Settings = None,
    data_dir: _DataDirs = None,
    output: _Output = Path("pictures"),
    as_json: _AsJson = False,
) -> None:
    """Draw the filters of a network and what raises each most, here and now."""
    named: dict[str, Any] = {"dataset": dataset, "backbone": backbone}
    if layers is not None:
        named["pictures"] = {"layers": [name.strip() for name in layers.split(",")]}
    spec = spec_of(named, None, settings or [])
    _run("visualise", spec, data_dir, output, as_json=as_json, start=_Start(checkpoint=checkpoint))


def export(
    checkpoint: _Checkpoint,
    dataset: _OwnDataset = None,
    *,
    backbone: _OwnBackbone = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", help="onnx, pt2, torch or card; may be repeated. Every one by default."
        ),
    ] = None,
    settings: _Settings = None,
    data_dir: _DataDirs = None,
    output: _Output = Path("exported"),
    as_json: _AsJson = False,
) -> None:
    """Write a network as ONNX, torch.export and plain data, checked, and a card of it."""
    named: dict[str, Any] = {"dataset": dataset, "backbone": backbone}
    if formats:
        named["export"] = {"formats": formats}
    spec = spec_of(named, None, settings or [])
    _run("export", spec, data_dir, output, as_json=as_json, start=_Start(checkpoint=checkpoint))


def _run(
    kind: str,
    spec: Mapping[str, Any],
    directories: Sequence[Path] | None,
    output: Path,
    *,
    as_json: bool,
    start: _Start | None = None,
) -> None:
    """Run a kind with the installed worker, show how it goes, and at the end what came of it."""
    around: dict[str, Any] = {"directories": directories or (), "output": output}
    if start is not None:
        around |= {"source": start.checkpoint, "order": start.order}
    if as_json:
        offered("run")(kind, spec, **around, report=_print)
        return
    notes = Notes()
    with Screen("loading") as screen:

        def show(event: str, data: Any) -> None:  # noqa: ANN401 - each event has data of its own
            notes.take(event, data)
            screen.show(event, data)

        offered("run")(kind, spec, **around, report=show)
    notes.print(output)


def _print(event: str, data: Any) -> None:  # noqa: ANN401 - each event has data of its own
    print(json.dumps({"type": event, "data": data}), flush=True)
