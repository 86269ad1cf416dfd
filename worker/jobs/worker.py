"""A worker: it hears wake-ups, looks for jobs by itself too, and tells that it lives."""

import threading
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service.settings import Settings
from service.store import presence
from service.store.database import Database
from service.store.ids import new_id
from worker.jobs.app import make_app
from worker.jobs.device import describe
from worker.jobs.listener import Listener
from worker.jobs.supervisor import ATTEMPT, Supervisor
from worker.jobs.tasks import add_wake_task

_SLACK_S = 5.0
"""What stopping takes beyond the grace that a training process is given."""

_log = structlog.get_logger(__name__)


class Worker:
    """Three threads around one supervisor: listening, polling, beating.

    Args:
        settings: of this worker.
        database: where the jobs are; closed by whoever made it.
        worker_id: whose claims these are; None makes a new identity.
        command: what to run for an attempt.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        worker_id: uuid.UUID | None = None,
        command: Sequence[str] = ATTEMPT,
    ) -> None:
        self.id = new_id() if worker_id is None else worker_id
        self._settings = settings
        self._database = database
        self._stopping = threading.Event()
        self._supervisor = Supervisor(
            settings, database, worker_id=self.id, device=describe(), command=command
        )
        app = make_app(settings)
        add_wake_task(app, self._look_for_jobs)
        self._listener = Listener(app)
        self._threads = [
            threading.Thread(target=target, name=f"slbi-{name}", daemon=True)
            for name, target in (("beating", self._keep_beating), ("polling", self._keep_polling))
        ]

    def start(self) -> None:
        """Begin to work; returns at once."""
        for thread in self._threads:
            thread.start()
        self._listener.start()
        _log.info("worker_started", worker=str(self.id))

    def stop(self) -> None:
        """Hand the running job back, take no other, and return when all is done."""
        self._stopping.set()
        within_s = self._settings.grace_seconds + _SLACK_S
        self._listener.stop(within_s)
        for thread in self._threads:
            thread.join(within_s)
        try:
            with self._database.writing() as session:
                presence.retire(session, worker_id=self.id, now=datetime.now(UTC))
        except SQLAlchemyError as error:
            _log.warning("worker_not_retired", worker=str(self.id), error=str(error))
        _log.info("worker_stopped", worker=str(self.id))

    def _look_for_jobs(self) -> None:
        try:
            self._supervisor.run_available(self._stopping)
        except SQLAlchemyError as error:
            _log.warning("jobs_not_seen", error=str(error))

    def _keep_polling(self) -> None:
        self._look_for_jobs()
        while not self._stopping.wait(self._settings.poll_seconds):
            self._look_for_jobs()

    def _keep_beating(self) -> None:
        while True:
            try:
                self._supervisor.beat()
            except SQLAlchemyError as error:
                _log.warning("heartbeat_not_written", error=str(error))
            if self._stopping.wait(self._settings.heartbeat_seconds):
                return
