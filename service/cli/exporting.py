"""A model fetched in a format, which is made first where nobody has made it yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.cli.exits import CommandError
from service.cli.follow import follow
from service.cli.output import console
from service.client.client import Client
from service.client.problem import Problem
from service.contract import EXPORT_FILES, Bounds, CheckpointFormat, ExportFormat, JobState

_NOT_EXPORTED = "not_exported"
"""Code of the problem that comes with the request that makes what is missing."""


def ending(form: CheckpointFormat) -> str:
    """Return what the name of a file of a format ends in, e.g. ".zip" of torch."""
    return ".safetensors" if form == "safetensors" else Path(EXPORT_FILES[form]).suffix


def fetch(
    client: Client,
    job_id: str,
    targets: Mapping[ExportFormat, Path],
    bounds: Bounds,
    *,
    again: bool,
    quiet: bool,
) -> str:
    """Write what one export made of the best model that fits; return the id of that export.

    It is the latest one. Where there is none it is waited for, and made if nobody has begun it.

    Args:
        client: of the service.
        job_id: whose model.
        targets: format -> where to; an export of the first is looked for.
        bounds: what the model may cost and must reach, as `Client.download` takes them.
        again: export anew.
        quiet: show nothing of the export.

    Raises:
        CommandError: The export did not succeed, or has left no such file.
    """
    form = next(iter(targets))
    export_id = (_made_again if again else _found)(client, job_id, form, bounds, quiet=quiet)
    files = {row["title"]: row["id"] for row in client.artifacts(export_id)}
    for each, target in targets.items():
        title = EXPORT_FILES[each]
        if title not in files:
            raise CommandError(f"export {export_id} must have left {title}; --again makes another")
        client.download_artifact(files[title], target)
    return export_id


def _found(client: Client, job_id: str, form: ExportFormat, bounds: Bounds, *, quiet: bool) -> str:
    """Return the latest export in a format, once it is there."""
    try:
        return str(client.located(job_id, **bounds, format=form)["export"])
    except Problem as problem:
        if problem.code != _NOT_EXPORTED or problem.request is None:
            raise
        return _made(client, problem.request["body"], again=False, quiet=quiet)


def _made_again(
    client: Client, job_id: str, form: ExportFormat, bounds: Bounds, *, quiet: bool
) -> str:
    """Return a new export in a format, once it is there."""
    source = {"job": job_id, "model": client.located(job_id, **bounds)["model"]}
    spec = {"kind": "export", "source": source, "export": {"formats": [form]}}
    return _made(client, spec, again=True, quiet=quiet)


def _made(client: Client, spec: Mapping[str, Any], *, again: bool, quiet: bool) -> str:
    """Run an export to its end, or wait for one like it, and return its id."""
    export_id = str(client.submit(spec, again=again)["id"])
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
    return export_id
