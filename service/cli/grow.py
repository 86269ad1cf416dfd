"""The command that needs no service: grow."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.chart import print_path
from service.cli.family import print_family
from service.cli.follow import Screen
from service.cli.installed import offered
from service.cli.overrides import spec_of
from service.contract import EventType


def grow(
    dataset: Annotated[str, typer.Argument(help="digits, fashion-mnist, ..., or a folder's name.")],
    backbone: Annotated[str, typer.Argument(help="lenet5, vgg11, resnet20, ...")],
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A field of the spec, e.g. growth.max_rounds=3."
        ),
    ] = None,
    data_dir: Annotated[
        list[Path] | None,
        typer.Option(
            help="Where data sets are looked for; may be repeated. Default: data,"
            " /usr/share/datasets."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the checkpoints.")
    ] = Path("grown"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line a record.")] = False,
) -> None:
    """Grow a network here and now, without any service, e.g. `slbi grow digits vgg11`."""
    spec = spec_of(dataset, backbone, None, settings or [])
    place = {"directories": data_dir or (), "output": output}
    if as_json:
        offered("run")("grow", spec, **place, report=_print)
        return
    notes = Notes()
    with Screen("loading") as screen:

        def show(kind: str, data: Any) -> None:  # noqa: ANN401 - each kind has data of its own
            notes.take(kind, data)
            screen.show(kind, data)

        offered("run")("grow", spec, **place, report=show)
    notes.print(output)


class Notes:
    """What a run reported, kept for what is shown at its end."""

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] = []
        self.path: dict[str, list[dict[str, Any]]] = {"layers": [], "steps": [], "growth": []}
        """Shaped like the answer of GET /v1/jobs/{id}/path; a layer goes by its name."""
        self.end = ""

    def take(self, kind: str, data: Any) -> None:  # noqa: ANN401 - each kind has data of its own
        """Keep what one record says."""
        match kind:
            case "layers":
                names = [row["name"] for row in data]
                self.path["layers"] = [
                    {"layer": name, "name": name, "n_filters": [], "n_active": []} for name in names
                ]
            case "step":
                self.path["steps"].append(data)
                for layer, support in zip(self.path["layers"], data["support"], strict=True):
                    layer["n_filters"].append(support["n_filters"])
                    layer["n_active"].append(support["n_active"])
            case EventType.GREW:
                self.path["growth"] += [{**row, "step": data["step"]} for row in data["layers"]]
            case EventType.MODEL:
                self.models.append(data)
            case EventType.TESTED:
                for row in data["models"]:
                    self.models[row["model"]]["test_accuracy"] = row["test_accuracy"]
            case EventType.SUCCEEDED:
                self.end = data["end"]

    def print(self, output: Path) -> None:
        """Print why growth ended, the family, the path and where the checkpoints lie."""
        print(f"Growth ended: {self.end}\n")
        print_family(self.models)
        print()
        print_path(self.path)
        print(f"\nThe checkpoints lie in {output}.")


def _print(kind: str, data: Any) -> None:  # noqa: ANN401 - each kind has data of its own
    print(json.dumps({"type": kind, "data": data}), flush=True)
