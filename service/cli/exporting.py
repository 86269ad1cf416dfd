"""A model fetched in a format, which is made first where nobody has made it yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.cli.exits import CommandError
from service.cli.follow import follow
from service.cli.output import console
from service.client.client import Client
from service.client.problem import Problem
from service.contract import EXPORT_FILES, Bounds, CheckpointFormat, JobState

_NOT_EXPORTED = "not_exported"
"""Code of the problem that comes with the request that makes what is missing."""


def ending(form: CheckpointFormat) -> str:
    """Return what the name of a file of a format ends in, e.g. ".zip" of torch."""
    return ".safetensors" if form == "safetensors" else Path(EXPORT_FILES[form]).suffix


def fetch(
    client: Client,
    job_id: str,
    target: Path,
    form: CheckpointFormat,
    bounds: Bounds,
    *,
    quiet: bool,
) -> None:
    """Write the best model that fits to `target`; where it must be exported first, wait for that.

    Args:
        client: of the service.
        job_id: whose model.
        target: where to.
        form: in which format.
        bounds: what it may cost and must reach, as `Client.download` takes them.
        quiet: show nothing of the export.

    Raises:
        CommandError: The export did not succeed.
    """
    try:
        client.download(job_id, target, **bounds, format=form)
    except Problem as problem:
        if problem.code != _NOT_EXPORTED or problem.request is None:
            raise
        _make(client, problem.request["body"], quiet=quiet)
        client.download(job_id, target, **bounds, format=form)


def _make(client: Client, spec: Mapping[str, Any], *, quiet: bool) -> None:
    """Run an export to its end."""
    export_id = client.submit(spec)["id"]
    if quiet:
        for _ in client.events(export_id):
            pass
    else:
        console().print(f"Export {export_id}", markup=False)
        follow(client.events(export_id), export_id)
    job = client.job(export_id)
    if job["state"] != JobState.SUCCEEDED:
        reason = job["error"] or "it was not done"
        raise CommandError(f"export {export_id} must succeed, it is {job['state']}: {reason}")
