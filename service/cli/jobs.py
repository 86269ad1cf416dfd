"""Commands on jobs: submit, jobs, show, attempts, watch, path."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.chart import print_path
from service.cli.exits import ExitCode
from service.cli.findings import print_findings
from service.cli.follow import follow, follow_as_json, progress_line
from service.cli.options import AsJson, JobId, Server, connect, job_id
from service.cli.output import MISSING, console, duration, print_json, print_table, share
from service.cli.overrides import spec_of
from service.client.client import Client
from service.contract import JobKind, JobState


def submit(
    dataset: Annotated[str | None, typer.Argument(help="Name from `slbi datasets`.")] = None,
    backbone: Annotated[str | None, typer.Argument(help="Name from `slbi backbones`.")] = None,
    *,
    kind: Annotated[JobKind | None, typer.Option(help="What to do; grow by default.")] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="JOB", help="Start from a model of this job.", parser=job_id),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Which model of it; the most accurate by default."),
    ] = None,
    source_file: Annotated[
        Path | None,
        typer.Option(help="Send this safetensors file, and start from it.", exists=True),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A field of the spec, e.g. growth.max_rounds=3."
        ),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A spec as JSON.", exists=True)] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and estimate, and make no job.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Export anew, even where an export like it is there."),
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the job to its end.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a network to be grown, or whatever `--kind` says: `slbi submit digits vgg11`."""
    start = {"job": source, "model": model} if source or model else None
    if start is not None and source_file is not None:
        raise ValueError("--source-file must stand alone, without --source and --model")
    named = {"kind": kind, "dataset": dataset, "backbone": backbone, "source": start}
    spec = spec_of(named, file, settings or [])
    with connect(server) as client:
        if source_file is not None:
            spec["source"] = {"upload": client.upload(source_file)["id"]}
        job = client.submit(spec, dry_run=dry_run, again=again)
        if dry_run or as_json:
            print_json(job)
        elif watch:
            console().print(f"Job {job['id']}")
        else:
            console().print(f"Job {job['id']} is {job['state']}. Follow it: slbi watch {job['id']}")
        if watch and not dry_run:
            _follow(client, job["id"], as_json=as_json)


def jobs(
    *,
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: Annotated[JobKind | None, typer.Option(help="Only jobs of this kind.")] = None,
    label: Annotated[str | None, typer.Option(help="Only jobs of this label.")] = None,
    sweep: Annotated[
        str | None,
        typer.Option(metavar="SWEEP", help="Only jobs of this sweep.", parser=job_id),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 20,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List the jobs, newest first."""
    with connect(server) as client:
        found = client.jobs(state=state, kind=kind, label=label, sweep=sweep)
        listed = [job for job, _ in zip(found, range(limit), strict=False)]
    if as_json:
        print_json(listed)
        return
    print_table(
        ["job", "kind", "state", "data set", "backbone", "best", "label", "created"],
        [
            [
                job["id"],
                job["kind"],
                job["state"],
                job["spec"]["dataset"],
                job["spec"]["backbone"],
                share(job["best_accuracy"]),
                job["label"] or MISSING,
                job["created_at"][:16].replace("T", " "),
            ]
            for job in listed
        ],
        right=["best"],
        whole=["job"],
    )


def show(job_id: JobId, *, server: Server = None, as_json: AsJson = False) -> None:
    """Show one job: where it stands and what came of it."""
    with connect(server) as client:
        job = client.job(job_id)
    if as_json:
        print_json(job)
        return
    for name, value in _facts(job).items():
        console().print(f"{name:<10}{value}", markup=False)
    if job["findings"]:
        console().print()
        print_findings(job["findings"])


def attempts(job_id: JobId, *, server: Server = None, as_json: AsJson = False) -> None:
    """List every try at a job: who made it, from where, and how it ended."""
    with connect(server) as client:
        found = client.attempts(job_id)
    if as_json:
        print_json(found)
    elif not found:
        console().print("No worker has begun with it yet.")
    else:
        columns = ["attempt", "host", "device", "began", "took", "from", "outcome", "reason"]
        print_table(columns, [_attempt(row) for row in found], right=["attempt", "took"])


def watch(job_id: JobId, *, server: Server = None, as_json: AsJson = False) -> None:
    """Follow a job to its end, also while it is paused; exits with 1 if that is not success."""
    with connect(server) as client:
        _follow(client, job_id, as_json=as_json)


def path(job_id: JobId, *, server: Server = None, as_json: AsJson = False) -> None:
    """Draw the structure path: each layer's share in the support, and where it was widened."""
    with connect(server) as client:
        answer = client.path(job_id)
    if as_json:
        print_json(answer)
    elif not answer["steps"]:
        console().print("No epoch has ended yet.")
    else:
        print_path(answer)


def _follow(client: Client, job_id: str, *, as_json: bool) -> None:
    events = client.events(job_id)
    state = follow_as_json(events) if as_json else follow(events, job_id)
    if state != JobState.SUCCEEDED:
        raise typer.Exit(ExitCode.FAILED)


def _facts(job: dict[str, Any]) -> dict[str, str]:
    facts = {
        "job": job["id"],
        "kind": job["kind"],
        "state": job["state"],
        "data set": job["spec"]["dataset"],
        "backbone": job["spec"]["backbone"],
        "label": job["label"] or MISSING,
        "attempts": str(job["attempts"]),
        "best": share(job["best_accuracy"]),
    }
    if source := job["spec"].get("source"):
        facts["source"] = "  ".join(f"{name} {value}" for name, value in source.items() if value)
    if job["progress"]:
        facts["progress"] = progress_line(job["progress"])
    if job["error"]:
        facts["reason" if job["state"] == JobState.PAUSED else "error"] = job["error"]
    return facts


def _attempt(row: dict[str, Any]) -> list[str]:
    began = datetime.fromisoformat(row["started_at"])
    ended = datetime.fromisoformat(row["ended_at"]) if row["ended_at"] else None
    return [
        str(row["number"]),
        row["host"],
        row["device"] or MISSING,
        began.strftime("%Y-%m-%d %H:%M:%S"),
        duration((ended - began).total_seconds() if ended else None),
        "the start" if row["resumed_from"] is None else f"step {row['resumed_from']}",
        row["outcome"] or "going on",
        row["reason"] or MISSING,
    ]
