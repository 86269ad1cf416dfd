"""Commands that steer a job: cancel, pause, resume, retry."""

from typing import Any

from service.cli.options import AsJson, JobId, Server, connect
from service.cli.output import console, print_json


def cancel(job_id: JobId, *, server: Server = None, as_json: AsJson = False) -> None:
    """End a job; what it has published stays."""
    with connect(server) as client:
        _tell(client.cancel(job_id), as_json=as_json)


def pause(job_id: JobId, *, server: Server = None, as_json: AsJson = False) -> None:
    """Put a job aside; one that runs first keeps a checkpoint."""
    with connect(server) as client:
        _tell(client.pause(job_id), f"Have it go on: slbi resume {job_id}", as_json=as_json)


def resume(job_id: JobId, *, server: Server = None, as_json: AsJson = False) -> None:
    """Have a paused job go on, from its last checkpoint."""
    with connect(server) as client:
        _tell(client.resume(job_id), f"Follow it: slbi watch {job_id}", as_json=as_json)


def retry(job_id: JobId, *, server: Server = None, as_json: AsJson = False) -> None:
    """Have a job that failed or was cancelled go on, from its last checkpoint."""
    with connect(server) as client:
        _tell(client.retry(job_id), f"Follow it: slbi watch {job_id}", as_json=as_json)


def _tell(job: dict[str, Any], hint: str = "", *, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        console().print(f"Job {job['id']} is {job['state']}. {hint}".rstrip())
