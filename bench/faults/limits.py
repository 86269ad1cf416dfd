"""Jobs that cannot succeed: a crash each time, no memory, a data set that is gone.

Each must fail after as many attempts as are allowed, say why in plain words, and never loop.
"""

import re
import shutil
import signal
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.faults import process
from bench.faults.arrangement import Arrange, Arrangement, stack
from bench.faults.checker import violations
from bench.faults.fault import Finding, Scope, Try
from bench.faults.history import read
from bench.faults.trial import BRIEF, LONG, Spec, ended, until_claimed, until_ended
from bench.faults.waiting import GLANCE_S, until
from service.contract import AttemptOutcome, JobState

CAP = 3
"""Attempts allowed. Source: `Settings.max_attempts`, its default."""

QUIET_SECONDS = 3.0
"""How long a job that has failed is watched for signs of life; three looks of the reconciler."""

BEGIN_SECONDS = 60.0
"""How long a training process may take to be there, and to its first epoch."""

HEADROOM = 256 * 2**20
"""Bytes of address space that a small training process is left beyond what it needs."""

HUNGRY: Spec = {
    **BRIEF,
    "optim": {"batch": 1024, "learning_rate": 0.05},
    "growth": {"start": 2048, "round_epochs": 1, "max_rounds": 1, "max_width": 2048},
}
"""Its weights alone fill 1 GB: 7 layers of 2048 x 2048 x 3 x 3 floats."""

GONE = "data set 'photos' must be in a data directory"

LOST, OOM, FAILED = AttemptOutcome.LOST, AttemptOutcome.OOM, AttemptOutcome.FAILED


def segfault(arrange: Arrange) -> Try:
    """Return what sends SIGSEGV to every training process of a job before its first checkpoint."""

    def run(scope: Scope, finding: Finding) -> None:
        with arrange(scope.folder, max_attempts=CAP) as arrangement:
            for _ in range(scope.times):
                with finding.trial("segfault"):
                    job_id = arrangement.submit(LONG)
                    fence = until_claimed(arrangement, job_id, 0)
                    while fence is not None and fence <= CAP:
                        _signal_child(arrangement, job_id, fence, signal.SIGSEGV)
                        fence = until_claimed(arrangement, job_id, fence)
                    finding.done += 1
                    said = rf"lost {CAP} times.*SIGSEGV"
                    _must_have_failed(finding, arrangement, job_id, [LOST] * CAP, said)

    return run


def out_of_memory(scope: Scope, finding: Finding) -> None:
    """Train what does not fit into the address space of the worker's processes, then what does."""
    for name in ("free", "tight"):
        (scope.folder / name).mkdir()
    with stack(scope.folder / "free") as arrangement:
        needed = _address_space(arrangement)
    finding.facts["limit_mb"] = (needed + HEADROOM) // 2**20
    prefix = ("prlimit", f"--as={needed + HEADROOM}")
    with stack(scope.folder / "tight", prefix=prefix, max_attempts=CAP) as arrangement:
        for _ in range(scope.times):
            with finding.trial("out of memory"):
                job_id = arrangement.submit(HUNGRY)
                until_ended(arrangement, job_id)
                finding.done += 1
                said = rf"ran out of memory {CAP} times"
                _must_have_failed(finding, arrangement, job_id, [OOM] * CAP, said)
                small = arrangement.submit(BRIEF)
                until_ended(arrangement, small)
                if arrangement.job(small).state != JobState.SUCCEEDED:
                    finding.violations.append("a job that fits must succeed afterwards")


def dataset_deleted(arrange: Arrange) -> Try:
    """Return what deletes a data set while a job waits for its worker, and while one trains."""

    def run(scope: Scope, finding: Finding) -> None:
        data = scope.folder / "data"
        with arrange(scope.folder, max_attempts=CAP, data_dirs=(data,)) as arrangement:
            for _ in range(scope.times):
                with finding.trial("deleted while the job waits"):
                    _delete_before(finding, arrangement, data)
                with finding.trial("deleted while the job trains"):
                    _delete_meanwhile(finding, arrangement, data)

    return run


def _delete_before(finding: Finding, arrangement: Arrangement, data: Path) -> None:
    """Delete the data set of a job that waits behind another."""
    running = arrangement.submit(LONG)
    until_claimed(arrangement, running, 0)
    job_id = arrangement.submit(_on_images(data))
    shutil.rmtree(data / "photos")
    finding.done += 1
    arrangement.client.post(f"/v1/jobs/{running}/cancel").raise_for_status()
    _must_have_failed(finding, arrangement, job_id, [FAILED], GONE)


def _delete_meanwhile(finding: Finding, arrangement: Arrangement, data: Path) -> None:
    """Delete the data set of a job that trains, and kill its training process."""
    job_id = arrangement.submit(_on_images(data))
    until(
        lambda: arrangement.job(job_id).progress,
        "a job makes progress",
        within_s=BEGIN_SECONDS,
    )
    shutil.rmtree(data / "photos")
    finding.done += 1
    _signal_child(arrangement, job_id, 1, signal.SIGKILL)
    _must_have_failed(finding, arrangement, job_id, [LOST, FAILED], GONE)


def _must_have_failed(
    finding: Finding,
    arrangement: Arrangement,
    job_id: uuid.UUID,
    outcomes: Sequence[AttemptOutcome],
    said: str,
) -> None:
    """See that a job failed by these attempts, says something of this pattern, and stays so."""
    until_ended(arrangement, job_id)
    time.sleep(QUIET_SECONDS)
    history = read(arrangement.database, job_id)
    job, came = history.job, [attempt.outcome for attempt in history.attempts]
    if job.state != JobState.FAILED or came != list(outcomes):
        told = f"failed by attempts that were {', '.join(outcomes)}"
        finding.violations.append(f"a job must be {told}, it is {job.state} by {came}")
    if not re.search(said, job.error or "", re.DOTALL):
        finding.violations.append(f"a job must say {said!r}, it says {job.error!r}")
    finding.violations += violations(history, arrangement.settings.artifacts)


def _signal_child(
    arrangement: Arrangement, job_id: uuid.UUID, fence: int, number: signal.Signals
) -> None:
    """Send a signal to the training process of an attempt as soon as there is one.

    Raises:
        NotInTimeError: there is none.
    """
    child = until(
        lambda: arrangement.child_of(job_id, fence),
        f"attempt {fence} has a training process",
        within_s=BEGIN_SECONDS,
    )
    if child is not None:
        process.send(child, number)


def _address_space(arrangement: Arrangement) -> int:
    """Return how much address space the training process of a small job takes, bytes."""
    job_id = arrangement.submit(BRIEF)
    fence = until_claimed(arrangement, job_id, 0) or 0
    most = 0
    while not ended(arrangement, job_id):
        child = arrangement.child_of(job_id, fence)
        if child is not None:
            most = max(most, process.peak_bytes(child))
        time.sleep(GLANCE_S)
    return most


def _on_images(data: Path) -> dict[str, Any]:
    """Make a folder of images by class, and return a spec that trains on it for long."""
    random = np.random.default_rng(0)
    for name, level in (("dark", 30), ("light", 220)):
        folder = data / "photos" / name
        folder.mkdir(parents=True)
        for number in range(60):
            pixels = level + random.integers(-20, 21, (16, 16, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    tune = {"epochs": 2000, "pruned_epochs": 0}
    return {**BRIEF, "dataset": "photos", "tune": tune, "data": {"image_size": 16}}
