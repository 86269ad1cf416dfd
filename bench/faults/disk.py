"""Disks without room: where checkpoints are kept, and where the database is."""

import errno
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.faults.arrangement import Arrange, Arrangement, embedded, stack
from bench.faults.databases import postgresql
from bench.faults.fault import Finding, NotRunError, Scope, Try
from bench.faults.history import read
from bench.faults.kills import integrity, passes
from bench.faults.poller import PROBLEM
from bench.faults.private import open_folder, private_postgres
from bench.faults.records import unpublished
from bench.faults.trial import BRIEF, Reference, check, unswept, until_claimed, until_ended, usual
from bench.faults.waiting import until
from service.contract import FINAL_STATES, JobState

ARTIFACT_MEGABYTES = 32
"""Room for checkpoints: much more than a job takes, little enough to be filled at once."""

FREE_BYTES = 2**20
"""What must be left free beyond a checkpoint; by default it is more than this disk has."""

SQLITE_MEGABYTES = 16
"""Room for a database file and its log."""

POSTGRES_MEGABYTES = 128
"""Room for a fresh server, 40 MB, and its log."""

PAUSE_SECONDS = 60.0
"""How long it may take from a full disk to a paused job."""

RESUME_SECONDS = 30.0
"""How long it may take from free room to a job that goes on, or to one that is taken."""

REFUSE_SECONDS = 60.0
"""How long a full database may go on taking jobs: it writes into room that it had before."""


def at_checkpoint(arrange: Arrange) -> Try:
    """Return what fills the disk of the checkpoints under a job, and frees it again."""

    def run(scope: Scope, finding: Finding) -> None:
        expected = usual(scope)
        with (
            small_disk(ARTIFACT_MEGABYTES) as disk,
            arrange(
                scope.folder, artifact_dir=disk / "artifacts", min_free_bytes=FREE_BYTES
            ) as arrangement,
        ):
            for _ in range(scope.times):
                with finding.trial("disk full at a checkpoint"), room(disk) as ballast:
                    job_id = arrangement.submit(expected.spec)
                    until_claimed(arrangement, job_id, 0)
                    passes(arrangement, job_id, scope.random.uniform(0, 0.5 * expected.seconds))
                    ballast.fill()
                    finding.done += 1
                    _must_pause(finding, arrangement, job_id)
                    ballast.drop()
                    _must_go_on(finding, arrangement, job_id)
                    until_ended(arrangement, job_id)
                    finding.violations += check(arrangement, job_id, expected)
            finding.violations += unswept(arrangement)

    return run


def at_sqlite_write(scope: Scope, finding: Finding) -> None:
    """Fill the disk of the SQLite file while a job trains."""
    expected = usual(scope)
    with (
        small_disk(SQLITE_MEGABYTES) as disk,
        embedded(scope.folder, database_folder=disk) as arrangement,
    ):
        for _ in range(scope.times):
            with finding.trial("disk full at a database write"), room(disk) as ballast:
                _fill_under_job(finding, arrangement, ballast, expected)
        finding.violations += integrity(arrangement)


def at_postgres_write(scope: Scope, finding: Finding) -> None:
    """Fill the disk of a PostgreSQL server while a job trains; start it again if it gave up."""
    expected = usual(scope)
    with (
        small_disk(POSTGRES_MEGABYTES) as disk,
        private_postgres(disk / "data", wal_megabytes=1) as server,
        stack(scope.folder, database=postgresql(server.url)) as arrangement,
    ):
        for _ in range(scope.times):
            with finding.trial("disk full at a database write"), room(disk) as ballast:
                _fill_under_job(finding, arrangement, ballast, expected, mend=server.start_if_ended)


def _fill_under_job(
    finding: Finding,
    arrangement: Arrangement,
    ballast: "Ballast",
    expected: Reference,
    mend: Callable[[], None] = lambda: None,
) -> None:
    """Fill the disk of a database while a job trains, see how it refuses, and free it again."""
    job_id = arrangement.submit(expected.spec)
    until_claimed(arrangement, job_id, 0)
    ballast.fill()
    finding.done += 1
    taken = _must_refuse(finding, arrangement)
    ballast.drop()
    mend()
    freed_at = time.monotonic()
    taken.append(arrangement.submit(BRIEF))
    finding.sample("taken_again_s", time.monotonic() - freed_at)
    for each in taken:
        arrangement.client.post(f"/v1/jobs/{each}/cancel").raise_for_status()
    until_ended(arrangement, job_id)
    finding.violations += check(arrangement, job_id, expected)


def _must_refuse(finding: Finding, arrangement: Arrangement) -> list[uuid.UUID]:
    """Submit until it is refused, see how, and return the jobs that were taken before."""
    taken: list[uuid.UUID] = []

    def refused() -> httpx.Response | None:
        answer = arrangement.client.post("/v1/jobs", json=dict(BRIEF))
        if answer.status_code != 202:
            return answer
        taken.append(uuid.UUID(answer.json()["id"]))
        return None

    answer = until(refused, "a full disk refuses a job", within_s=REFUSE_SECONDS)
    finding.sample("taken_on_a_full_disk", len(taken))
    if answer is not None:
        finding.count(f"answers {answer.status_code}")
        kind = answer.headers.get("content-type")
        if answer.status_code not in {503, 507} or kind != PROBLEM:
            told = f"got {answer.status_code} as {kind}: {answer.text[:200]}"
            finding.violations.append(f"a full disk must give 503 or 507 as {PROBLEM}, {told}")
    return taken


def _must_pause(finding: Finding, arrangement: Arrangement, job_id: uuid.UUID) -> None:
    """See that a job is put aside for want of room, says so, and left nothing half-written."""
    begun = time.monotonic()
    until(
        lambda: arrangement.job(job_id).state in {JobState.PAUSED, *FINAL_STATES},
        "a full disk pauses the job",
        within_s=PAUSE_SECONDS,
    )
    finding.sample("paused_after_s", time.monotonic() - begun)
    told = arrangement.client.get(f"/v1/jobs/{job_id}").json()
    if told["state"] != JobState.PAUSED or not told["error"]:
        came = f"{told['state']}: {told['error']}"
        finding.violations.append(f"a full disk must pause the job with a reason, it is {came}")
    left = unpublished(read(arrangement.database, job_id), arrangement.settings.artifacts)
    if left:
        finding.violations.append(f"a full disk must leave nothing half-written, it left {left}")


def _must_go_on(finding: Finding, arrangement: Arrangement, job_id: uuid.UUID) -> None:
    """See that a job is taken up again by itself."""
    begun = time.monotonic()
    until(
        lambda: arrangement.job(job_id).state != JobState.PAUSED,
        "free room lets the job go on",
        within_s=RESUME_SECONDS,
    )
    finding.sample("resumed_after_s", time.monotonic() - begun)


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Give an empty folder with so much room and no more, open to every user.

    Raises:
        NotRunError: this process may not mount.
    """
    with open_folder() as place:
        mount = ("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "slbi-faults")
        done = subprocess.run([*mount, str(place)], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            told = "a tmpfs must be mounted, which needs root or `unshare --map-root-user --mount`"
            raise NotRunError(f"{told}: {done.stderr.strip()}")
        try:
            yield place
        finally:
            subprocess.run(["umount", "--lazy", str(place)], check=True)


class Ballast:
    """A file that takes all the room there is.

    Args:
        disk: on which it lies.
    """

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"

    def fill(self) -> None:
        """Take what room there is, in place."""
        with self._path.open("ab", buffering=0) as file:
            for size in (2**20, 2**12):
                while _written(file.fileno(), bytes(size)):
                    pass

    def drop(self) -> None:
        """Give the room back, in place."""
        self._path.unlink(missing_ok=True)


@contextmanager
def room(disk: Path) -> Iterator[Ballast]:
    """Give a ballast for a disk, and be sure that its room is given back in the end."""
    ballast = Ballast(disk)
    try:
        yield ballast
    finally:
        ballast.drop()


def _written(file: int, content: bytes) -> bool:
    """Write as much as there is room for; return whether there was room for any."""
    try:
        return os.write(file, content) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
