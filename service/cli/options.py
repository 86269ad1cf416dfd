"""Options that several commands share, and the client they lead to."""

import uuid
from typing import Annotated

import typer

from service.client.client import Client
from service.contract import ModelKind
from service.settings import ClientSettings

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help="Address of the service; SLBI_SERVER, else this machine's port 8000.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def job_id(text: str) -> str:
    """Return the id of a job, or of a sweep, as the service writes it.

    Raises:
        ValueError: It is none; in an address it could lead to another route.
    """
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise ValueError(f"an id must be a UUID, got {text!r}") from error


JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", parser=job_id)]
SweepId = Annotated[str, typer.Argument(metavar="SWEEP", help="The sweep's id.", parser=job_id)]
MaxMacs = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Multiply-accumulates an image at most.")
]
MaxParams = Annotated[int | None, typer.Option(min=1, metavar="N", help="Parameters at most.")]
MaxBytes = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Bytes of the checkpoint file at most.")
]
MaxLatency = Annotated[
    float | None,
    typer.Option(
        "--max-latency-ms", metavar="MS", help="Milliseconds of an image at most, as measured."
    ),
]
MinAccuracy = Annotated[
    float | None,
    typer.Option(min=0.0, max=1.0, metavar="SHARE", help="Validation accuracy at least, 0 to 1."),
]
Kind = Annotated[ModelKind | None, typer.Option(help="Only models of this kind.")]


def connect(server: str | None) -> Client:
    """Return a client of the service named, or of the environment's, with the environment's key."""
    settings = ClientSettings()
    key = settings.key.get_secret_value() if settings.key else None
    return Client(server or settings.server, key)
