"""Claims jobs and watches over their attempts, each in a fresh process of its own."""

import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service import failpoints
from service.contract import AttemptOutcome
from service.errors import FenceLostError
from service.settings import Settings
from service.store import claims, presence
from service.store.claims import Claim
from service.store.database import Database
from worker.jobs.child import Child
from worker.jobs.exits import EXIT_RECORDED, decode
from worker.jobs.persist import persist
from worker.process import kernel_kills

ATTEMPT = (sys.executable, "-m", "worker.jobs.attempt")
"""The training process; `--job`, `--fence` and `--parent` are appended."""

_GLANCE_S = 0.2
"""Between two looks at the stop event and the clock while a training process runs."""

_log = structlog.get_logger(__name__)


class _Ask(Enum):
    """Why a training process was told to end, and the outcome that makes of it."""

    CANCEL = (AttemptOutcome.CANCELLED, "The job was cancelled.")
    PAUSE = (AttemptOutcome.PREEMPTED, "The job was paused.")
    LIMIT = (AttemptOutcome.FAILED, "The job's wall-clock limit of {limit_s} s was reached.")
    STOP = (AttemptOutcome.PREEMPTED, "The worker was stopped.")
    LEAVE = (AttemptOutcome.SUCCEEDED, "It has written its outcome itself.")
    FENCE_LOST = (AttemptOutcome.LOST, "The job is not this worker's any more.")

    def __init__(self, outcome: AttemptOutcome, reason: str) -> None:
        self.outcome = outcome
        self.reason = reason


class Supervisor:
    """Runs one job at a time, each attempt as one child process.

    Args:
        settings: of the worker; the child gets the same through its environment.
        database: where the jobs are.
        worker_id: whose claims these are.
        device: what the worker trains on, for people.
        command: what to run for an attempt.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        worker_id: uuid.UUID,
        device: str,
        command: Sequence[str] = ATTEMPT,
    ) -> None:
        self._settings = settings
        self._database = database
        self._myself: dict[str, Any] = {
            "worker_id": worker_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "device": device,
        }
        self._command = tuple(command)
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._one_at_a_time = threading.Lock()
        self._telling = threading.Lock()
        """Held while the worker's row is written: a beat must not say what a claim made untrue."""
        self._job_id: uuid.UUID | None = None

    def run_available(self, stop: threading.Event) -> int:
        """Claim and run jobs until none is queued; return how many attempts that were.

        Once `stop` is set, no further job is claimed and the running one is handed back.

        Raises:
            SQLAlchemyError: the database is away when a job is to be claimed.
        """
        attempts = 0
        with self._one_at_a_time:
            while not stop.is_set():
                try:
                    if (claim := self._claim()) is None:
                        break
                    self._run(claim, stop)
                finally:
                    self._job_id = None
                attempts += 1
            if attempts:
                self.beat()
        return attempts

    def beat(self) -> None:
        """Write that this worker lives and what it works on.

        Raises:
            SQLAlchemyError: the database is away.
        """
        with self._telling, self._database.writing() as session:
            now = datetime.now(UTC)
            presence.beat(session, **self._myself, job_id=self._job_id, now=now)

    def _claim(self) -> Claim | None:
        now = datetime.now(UTC)
        with self._telling, self._database.writing() as session:
            claim = claims.claim(session, **self._myself, now=now, lease=self._lease)
            if claim is None:
                return None
            self._job_id = claim.job_id
            with failpoints.around("claim.worker"):
                presence.beat(session, **self._myself, job_id=claim.job_id, now=now)
                session.flush()
            failpoints.hit("claim.commit.before")
        failpoints.hit("claim.commit.after")
        return claim

    def _run(self, claim: Claim, stop: threading.Event) -> None:
        log = _log.bind(job=str(claim.job_id), fence=claim.fence)
        kills = kernel_kills()
        arguments = ("--job", str(claim.job_id), "--fence", str(claim.fence))
        child = Child(
            (*self._command, *arguments, "--parent", str(os.getpid())),
            self._settings.environment(),
        )
        log.info("attempt_started", pid=child.pid)
        try:
            asked = self._watch(child, claim, stop)
        finally:
            child.kill()
            code, last_words = child.collect()
        if asked is None or code == EXIT_RECORDED:
            asked = None  # whatever was wanted meanwhile, the process came to its own end
            outcome, reason = decode(code, last_words, kernel_killed=kernel_kills() > kills)
        else:
            limit_s = claims.limit_seconds(claim.spec)
            outcome, reason = asked.outcome, asked.reason.format(limit_s=limit_s)
        self._conclude(claim, outcome, reason, stop)
        log.info("attempt_ended", exit_code=code, asked=asked and asked.name)

    def _watch(self, child: Child, claim: Claim, stop: threading.Event) -> _Ask | None:
        """Keep the lease until the process ends; tell it to end where that is wanted."""
        asked: _Ask | None = None
        kill_at = float("inf")
        renew_at = time.monotonic() + self._settings.heartbeat_seconds
        while not child.exited(within_s=min(_GLANCE_S, self._settings.heartbeat_seconds)):
            wish = _Ask.STOP if stop.is_set() else None
            if time.monotonic() >= renew_at:
                wish = self._renew(claim) or wish
                renew_at = time.monotonic() + self._settings.heartbeat_seconds
            if wish is _Ask.FENCE_LOST:
                return wish  # and `_run` kills it
            if wish is not None and asked is None:
                asked = wish
                kill_at = time.monotonic() + self._settings.grace_seconds
                child.ask_to_stop()
            if time.monotonic() >= kill_at:
                child.kill()
        return asked

    def _renew(self, claim: Claim) -> _Ask | None:
        held: dict[str, Any] = {"job_id": claim.job_id, "fence": claim.fence}
        now = datetime.now(UTC)
        try:
            with self._database.writing() as session:
                try:
                    orders = claims.renew(session, **held, now=now, lease=self._lease)
                except FenceLostError:
                    done = claims.recorded(session, **held)
                    return _Ask.LEAVE if done else _Ask.FENCE_LOST
        except SQLAlchemyError as error:
            _log.warning("lease_not_renewed", job=str(claim.job_id), error=str(error))
            return None
        if orders.cancel:
            return _Ask.CANCEL
        if orders.over_limit:
            return _Ask.LIMIT
        return _Ask.PAUSE if orders.pause else None

    def _conclude(
        self, claim: Claim, outcome: AttemptOutcome, reason: str, stop: threading.Event
    ) -> None:
        """Write how the attempt ended, unless the training process has done so itself."""
        try:
            persist(
                self._database,
                lambda session: claims.finish(
                    session,
                    job_id=claim.job_id,
                    fence=claim.fence,
                    outcome=outcome,
                    reason=reason,
                    now=datetime.now(UTC),
                    max_attempts=self._settings.max_attempts,
                ),
                flow="finish",
                give_up=stop.is_set,
            )
        except FenceLostError:
            return  # recorded already, or somebody else's job by now
        except SQLAlchemyError as error:
            # Stopping without a database: the lease runs out, and the reconciler sees to the job.
            _log.warning("outcome_not_written", job=str(claim.job_id), error=str(error))
