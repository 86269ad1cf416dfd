"""Commands on a job's family: models, pull."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.exporting import ending, fetch
from service.cli.options import (
    AsJson,
    JobId,
    Kind,
    MaxBytes,
    MaxLatency,
    MaxMacs,
    MaxParams,
    MinAccuracy,
    Server,
    connect,
)
from service.cli.output import MISSING, console, count, print_json, print_table, share, widths
from service.contract import Bounds, CheckpointFormat
from service.tensors import DESCRIPTION, METADATA, read_header


def models(
    job_id: JobId,
    *,
    pareto: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Only those that none of what fits beats in two of macs, params, bytes, latency"
            " and accuracy.",
        ),
    ] = None,
    max_macs: MaxMacs = None,
    max_params: MaxParams = None,
    max_bytes: MaxBytes = None,
    max_latency: MaxLatency = None,
    min_accuracy: MinAccuracy = None,
    kind: Kind = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List a job's family: every model that fits, with its cost and accuracy, and which to take.

    That one is marked; the last lines say why it is that one, or which comes nearest if none fits.
    """
    bounds = Bounds(
        max_macs=max_macs,
        max_params=max_params,
        max_bytes=max_bytes,
        max_latency_ms=max_latency,
        min_accuracy=min_accuracy,
        kind=kind,
    )
    with connect(server) as client:
        family = client.family(job_id, pareto=pareto or False, **bounds)
    if as_json:
        print_json(family)
    else:
        print_answer(family)


def pull(
    job_id: JobId,
    *,
    max_macs: MaxMacs = None,
    max_params: MaxParams = None,
    max_bytes: MaxBytes = None,
    max_latency: MaxLatency = None,
    min_accuracy: MinAccuracy = None,
    kind: Kind = None,
    format_: Annotated[
        CheckpointFormat,
        typer.Option("--format", help="Of the file; all but safetensors are made if need be."),
    ] = "safetensors",
    again: Annotated[
        bool, typer.Option("--again", help="Export anew, even where that was done before.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; JOB.FORMAT by default.")
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Download the most accurate model that fits, and what describes it beside it.

    JSON describes a safetensors file, the card of the same export any other. A format in which the
    model was not exported yet is made first, or waited for where that has begun. `slbi models` with
    the same bounds says why it is this model.
    """
    if again and format_ == "safetensors":
        raise ValueError("--again must go with a --format that is exported, got safetensors")
    target = output or Path(f"{job_id}{ending(format_)}")
    beside = target
    if format_ != "card":
        beside = target.with_suffix(".json" if format_ == "safetensors" else ending("card"))
    if beside == target and format_ != "card":
        raise ValueError(f"what describes it goes to {beside}, --output must be another file")
    bounds = Bounds(
        max_macs=max_macs,
        max_params=max_params,
        max_bytes=max_bytes,
        max_latency_ms=max_latency,
        min_accuracy=min_accuracy,
        kind=kind,
    )
    description = export = None
    with connect(server) as client:
        if format_ == "safetensors":
            client.download(job_id, target, **bounds)
            description = describe(target)
            beside.write_text(json.dumps(description, indent=2) + "\n")
        else:
            targets = {format_: target, "card": beside}
            export = fetch(client, job_id, targets, bounds, again=again, quiet=as_json)
    if as_json:
        files = {"file": str(target), "beside": str(beside)}
        print_json({**files, "description": description, "export": export})
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


def print_answer(family: Mapping[str, Any]) -> None:
    """Print a line a model, a star before the one to take, and why it is that one."""
    chosen, near = family["chosen"], family["nearest"]
    if family["items"]:
        print_family(family["items"], None if chosen is None else chosen["model"])
    told = [each["reason"] for each in (chosen, near) if each is not None]
    if family["front"]["left_out"]:
        first, second = family["front"]["measures"]
        told.append(
            f"{len(family['front']['left_out'])} of what fits are on no front of {first} and"
            f" {second}: nobody measured that of them."
        )
    if not family["ended"]:
        told.append("The job has not ended: models may be added.")
    for line in told or ["There is no model yet."]:
        console().print(line, markup=False, soft_wrap=True)


def print_family(family: Sequence[Mapping[str, Any]], chosen: str | None = None) -> None:
    """Print a line a model, with a star before the one of the id `chosen`."""
    transferred = any(model.get("dataset") for model in family)
    stored = any("artifact" in model for model in family)
    print_table(
        [
            *([""] if chosen else []),
            "model",
            *(["data set"] if transferred else []),
            "kind",
            "MACs",
            "params",
            *(["bytes"] if stored else []),
            "validation",
            "test",
            "latency",
            "widths",
        ],
        [
            [
                *(["*" if model["id"] == chosen else ""] if chosen else []),
                model["origin"],
                *([model.get("dataset") or "the job's"] if transferred else []),
                model["kind"],
                count(model["macs"]),
                count(model["params"]),
                *([count(model["artifact"]["bytes"])] if stored else []),
                share(model["validation_accuracy"]),
                share(model.get("test_accuracy")),
                f"{model['latency_ms']:.2f} ms" if model["latency_ms"] is not None else MISSING,
                widths(model["widths"]),
            ]
            for model in family
        ],
        right=["MACs", "params", "bytes", "validation", "test", "latency"],
    )
