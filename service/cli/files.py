"""Commands on files: those of a job, and one that is sent."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.options import AsJson, JobId, Server, connect
from service.cli.output import console, count, print_json, print_table
from service.client.client import Client


def files(
    job_id: JobId,
    *,
    download: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Fetch them all into this folder, made if need be."),
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List a job's files: the checkpoints of its models, pictures, orders, masks, tables."""
    with connect(server) as client:
        found = client.artifacts(job_id)
        if download is not None:
            _fetch(client, found, download)
    if as_json:
        print_json(found)
    elif not found:
        console().print("There is no file yet.")
    else:
        print_table(
            ["file", "kind", "bytes", "published"],
            [
                [
                    name_of(row),
                    row["kind"],
                    count(row["bytes"]),
                    row["published_at"][:16].replace("T", " "),
                ]
                for row in found
            ],
            right=["bytes"],
            whole=["file"],
        )


def upload(
    file: Annotated[Path, typer.Argument(help="A safetensors file.", exists=True, dir_okay=False)],
    *,
    name: Annotated[str | None, typer.Option(help="What to call it; the file's own name.")] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Send a file to the service, which keeps it for a time."""
    with connect(server) as client:
        sent = client.upload(file, name)
    if as_json:
        print_json(sent)
        return
    until = sent["expires_at"][:16].replace("T", " ")
    told = f"Upload {sent['id']}  {count(sent['bytes'])}B  kept until {until} UTC"
    console().print(told, markup=False)


def name_of(row: Mapping[str, Any]) -> str:
    """Return the name under which a file is kept: its title, or its id where it has none.

    Raises:
        ValueError: It would lead out of a folder.
    """
    name = row["title"] or f"{row['id']}.{row['format']}"
    if name in {"", ".", ".."} or any(sign in name for sign in "/\\\0"):
        raise ValueError(f"a file's title must be a plain name, got {name!r}")
    return str(name)


def _fetch(client: Client, found: list[dict[str, Any]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for row in found:
        client.download_artifact(row["id"], folder / name_of(row))
