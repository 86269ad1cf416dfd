"""Commands on a job's family: models, pull."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.exporting import ending, fetch
from service.cli.options import AsJson, JobId, MaxMacs, MaxParams, MinAccuracy, Server, connect
from service.cli.output import MISSING, console, count, print_json, print_table, share, widths
from service.contract import CheckpointFormat, ModelKind
from service.tensors import DESCRIPTION, METADATA, read_header


def models(
    job_id: JobId,
    *,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Only those that none beats in cost and accuracy.")
    ] = False,
    max_macs: MaxMacs = None,
    max_params: MaxParams = None,
    min_accuracy: MinAccuracy = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List a job's family: every model that came of it, with its cost and accuracy."""
    with connect(server) as client:
        family = client.models(
            job_id,
            pareto=pareto,
            max_macs=max_macs,
            max_params=max_params,
            min_accuracy=min_accuracy,
        )
    if as_json:
        print_json(family)
    else:
        print_family(family)


def pull(
    job_id: JobId,
    *,
    max_macs: MaxMacs = None,
    max_params: MaxParams = None,
    min_accuracy: MinAccuracy = None,
    kind: Annotated[ModelKind | None, typer.Option(help="Only models of this kind.")] = None,
    format_: Annotated[
        CheckpointFormat,
        typer.Option("--format", help="Of the file; all but safetensors are made if need be."),
    ] = "safetensors",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; JOB.FORMAT by default.")
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Download the most accurate model that fits, and what describes it beside it.

    That is JSON beside a safetensors file, and the card beside any other format. A format in which
    the model was not exported yet is made first.
    """
    target = output or Path(f"{job_id}{ending(format_)}")
    beside = target.with_suffix(".json" if format_ == "safetensors" else ending("card"))
    if beside == target and format_ != "card":
        raise ValueError(f"what describes it goes to {beside}, --output must be another file")
    bounds = {
        "max_macs": max_macs,
        "max_params": max_params,
        "min_accuracy": min_accuracy,
        "kind": kind,
    }
    with connect(server) as client:
        fetch(client, job_id, target, format_, bounds, quiet=as_json)
        if format_ not in {"safetensors", "card"}:
            fetch(client, job_id, beside, "card", bounds, quiet=as_json)
    description = None
    if format_ == "safetensors":
        description = describe(target)
        beside.write_text(json.dumps(description, indent=2) + "\n")
    if as_json:
        print_json({"file": str(target), "beside": str(beside), "description": description})
        return
    console().print(f"{target}  {count(target.stat().st_size)}B", markup=False)
    if beside != target:
        console().print(f"{beside}  its description", markup=False)


def describe(file: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself.

    Raises:
        ValueError: The file is no safetensors file, or has no description.

    """
    try:
        header = read_header(file)
    except ValueError as error:
        raise ValueError(f"{file} must be a safetensors file: {error}") from error
    try:
        return dict(json.loads(header[METADATA][DESCRIPTION]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} must carry a description under {DESCRIPTION!r}") from error


def print_family(family: Sequence[Mapping[str, Any]]) -> None:
    """Print a line a model."""
    transferred = any(model.get("dataset") for model in family)
    print_table(
        [
            "model",
            *(["data set"] if transferred else []),
            "kind",
            "MACs",
            "params",
            "validation",
            "test",
            "latency",
            "widths",
        ],
        [
            [
                model["origin"],
                *([model.get("dataset") or "the job's"] if transferred else []),
                model["kind"],
                count(model["macs"]),
                count(model["params"]),
                share(model["validation_accuracy"]),
                share(model.get("test_accuracy")),
                f"{model['latency_ms']:.2f} ms" if model["latency_ms"] is not None else MISSING,
                widths(model["widths"]),
            ]
            for model in family
        ],
        right=["MACs", "params", "validation", "test", "latency"],
    )
