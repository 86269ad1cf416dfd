"""How long the service takes to answer, and a job to begin: `python -m bench.startup`.

Printed for every start: seconds from starting `slbi serve` until GET /healthz answers, and from
POST /v1/jobs until the first epoch runs (the path has its layers) and until it has ended (the path
has its first step). The last line is the median.
"""

import statistics
import tempfile
import time
from pathlib import Path

import httpx
import typer

from bench.service import served
from service.client.client import Client

POLL_SECONDS = 0.02
"""How finely the last two are told."""

JOB = {
    "dataset": "digits",
    "backbone": "vgg11",
    "growth": {"max_rounds": 1, "round_epochs": 1},
    "tune": {"epochs": 0, "pruned_epochs": 0},
}


def main(repeats: int = 5) -> None:
    """Print a line for each of `repeats` fresh starts, then their medians."""
    print(f"{'ready s':>8} {'epoch runs s':>13} {'epoch ended s':>14}")
    rows = [measure() for _ in range(repeats)]
    medians = tuple(statistics.median(column) for column in zip(*rows, strict=True))
    for row in (*rows, medians):
        print(f"{row[0]:8.2f} {row[1]:13.2f} {row[2]:14.2f}", "median" if row is medians else "")


def measure() -> tuple[float, float, float]:
    """Return the three times of one start on an empty home, s."""
    with tempfile.TemporaryDirectory() as home:
        began = time.perf_counter()
        with served(Path(home)) as address:
            httpx.get(f"{address}/healthz").raise_for_status()
            ready = time.perf_counter() - began
            with Client(address) as client:
                posted = time.perf_counter()
                job_id = client.submit(JOB)["id"]
                running = _until(client, job_id, "layers") - posted
                ended = _until(client, job_id, "steps") - posted
                list(client.events(job_id))
    return ready, running, ended


def _until(client: Client, job_id: str, part: str) -> float:
    """Return when a part of a job's path was there, on the clock of `perf_counter`, s."""
    while not client.path(job_id)[part]:
        time.sleep(POLL_SECONDS)
    return time.perf_counter()


if __name__ == "__main__":
    typer.run(main)
