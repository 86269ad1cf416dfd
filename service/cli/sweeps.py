"""Commands on sweeps: start, list, show, cancel."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.family import print_answer
from service.cli.options import AsJson, Server, SweepId, connect
from service.cli.output import MISSING, console, count, duration, print_json, print_table, share
from service.cli.overrides import read_object, setting_of, spec_of
from service.spec.sweeps import Strategy

sweep = typer.Typer(help="Several jobs at once, with one cap and one family.", no_args_is_help=True)

_Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A field of every job's spec."),
]
_Axes = Annotated[
    list[str] | None,
    typer.Option(
        "--axis",
        metavar="NAME=[A,B]",
        help="A field with the values to try, e.g. growth.threshold=[0.7,0.8]; may be repeated:"
        " every combination is a job.",
    ),
]


@sweep.command()
def start(
    dataset: Annotated[str | None, typer.Argument(help="Name from `slbi datasets`.")] = None,
    backbones: Annotated[
        list[str] | None, typer.Argument(help="Names from `slbi backbones`; several are an axis.")
    ] = None,
    *,
    settings: _Settings = None,
    axes: _Axes = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Try so many seeds: 0, 1, and so on.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Of the sweep and its jobs.")] = None,
    strategy: Annotated[
        Strategy | None,
        typer.Option(help="grid, by default: all to their end; halving: the worse are stopped."),
    ] = None,
    halving: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="factor=3 or min_epochs=1; may be repeated."),
    ] = None,
    max_training_macs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Of all jobs together.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="The whole sweep as JSON instead.", exists=True)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and estimate, and make no job.")
    ] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Start a sweep: `slbi sweep start digits vgg11 resnet20 --seeds 3`."""
    jobs = _jobs(dataset, backbones or [], settings or [], axes or [], seeds)
    if file and jobs:
        raise ValueError("--file must hold the whole sweep, without jobs from the command line")
    named = {
        "label": label,
        "strategy": strategy,
        "halving": dict(setting_of(each, "--halving") for each in halving or []) or None,
        "max_training_macs": max_training_macs,
    }
    asked = read_object(file) if file else jobs
    asked |= {name: value for name, value in named.items() if value is not None}
    with connect(server) as client:
        answer = client.start_sweep(asked, dry_run=dry_run)
    if as_json:
        print_json(answer)
    elif dry_run:
        _print_forecast(answer)
    else:
        told = f"Sweep {answer['id']} has {len(answer['jobs'])} jobs. Follow it: slbi sweep show"
        console().print(f"{told} {answer['id']}", markup=False, soft_wrap=True)


def _jobs(
    dataset: str | None,
    backbones: Sequence[str],
    settings: Sequence[str],
    axes: Sequence[str],
    seeds: int | None,
) -> dict[str, Any]:
    """Return base and axes, or nothing if nothing was said."""
    tried = dict(setting_of(axis, "--axis") for axis in axes)
    if len(backbones) > 1:
        tried["backbone"] = list(backbones)
    if seeds is not None:
        tried["compute.seed"] = list(range(seeds))
    named = {"dataset": dataset, "backbone": backbones[0] if len(backbones) == 1 else None}
    base = spec_of(named, None, settings)
    return {"base": base, "axes": tried} if base or tried else {}


@sweep.command("list")
def list_(*, server: Server = None, as_json: AsJson = False) -> None:
    """List the sweeps, newest first."""
    with connect(server) as client:
        found = list(client.sweeps())
    if as_json:
        print_json(found)
        return
    print_table(
        ["sweep", "strategy", "jobs", "label", "created"],
        [
            [
                row["id"],
                row["strategy"],
                _states(row["states"]),
                row["label"] or MISSING,
                row["created_at"][:16].replace("T", " "),
            ]
            for row in found
        ],
        whole=["sweep"],
    )


@sweep.command()
def show(
    sweep_id: SweepId,
    *,
    pareto: Annotated[
        str, typer.Option(metavar="A,B", help="Front of two measures; false lists every model.")
    ] = "macs,accuracy",
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Show a sweep: its jobs, and the front of all their models."""
    with connect(server) as client:
        found = client.sweep(sweep_id, pareto=pareto)
    if as_json:
        print_json(found)
        return
    _print_jobs(found["jobs"])
    cap = found["max_training_macs"]
    of = "" if cap is None else f" of {count(cap)}"
    print(f"\nTraining MACs: {count(found['training_macs'])}{of}. {_states(found['states'])}.\n")
    names = {job["job_id"]: number for number, job in enumerate(found["jobs"], 1)}
    family = found["family"]
    for model in family["items"]:
        model["origin"] = f"job {names[model['job_id']]}, {model['origin']}"
    print_answer(family)


@sweep.command()
def cancel(sweep_id: SweepId, *, server: Server = None, as_json: AsJson = False) -> None:
    """Cancel the jobs of a sweep that have not ended; what they have published stays."""
    with connect(server) as client:
        found = client.cancel_sweep(sweep_id)
    if as_json:
        print_json(found)
    else:
        print(f"Sweep {sweep_id}: {_states(found['states'])}.")


def _print_jobs(jobs: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        ["", "job", "state", "backbone", "settings", "epochs", "MACs", "best"],
        [
            [
                str(number),
                job["job_id"],
                job["state"],
                job["backbone"],
                _settings(job["settings"]),
                str(job["epochs"]),
                count(job["training_macs"]),
                share(job["best_accuracy"]),
            ]
            for number, job in enumerate(jobs, 1)
        ],
        right=["epochs", "MACs", "best"],
        whole=["job"],
    )
    for number, job in enumerate(jobs, 1):
        if job["stopped"]:
            console().print(f"{number} was stopped: {job['stopped']}", markup=False, soft_wrap=True)


def _print_forecast(answer: Mapping[str, Any]) -> None:
    total = answer["total"]
    print_table(
        ["settings", "training MACs", "time"],
        [
            *(
                [
                    _settings(job["settings"]) or job["spec"]["backbone"],
                    _range(count, job["training"]["least_macs"], job["training"]["most_macs"]),
                    _range(duration, job["time"]["least_seconds"], job["time"]["most_seconds"]),
                ]
                for job in answer["jobs"]
            ),
            [
                f"all {total['jobs']}",
                _range(count, total["least_macs"], total["most_macs"]),
                _range(duration, total["least_seconds"], total["most_seconds"]),
            ],
        ],
        right=["training MACs", "time"],
    )
    if total["max_training_macs"] is not None:
        print(f"At {count(total['max_training_macs'])} the rest is cancelled.")


def _range(told: Any, least: float | None, most: float | None) -> str:  # noqa: ANN401 - a function
    first, last = told(least), told(most)
    return first if first == last else f"{first} to {last}"


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _states(states: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in states.items())
