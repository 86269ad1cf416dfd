"""Celery's consumer in a thread of its own: it hears wake-ups, and the task runs in that thread.

Celery's own worker program would own the process's signals and fork; a worker here keeps its
signals to itself, forks nothing and runs one job at a time. Source: docs/decisions, "A worker is
one process".
"""

import threading

import structlog
from celery import Celery
from celery.worker import WorkController, state

from service.contract import WAKE_TASK

_AGAIN_S = 5.0
"""Before a consumer that gave up is started anew."""

_log = structlog.get_logger(__name__)


class Listener:
    """Takes messages while it runs; one listener a process, as Celery keeps its state globally."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="slbi-listener", daemon=True)

    def start(self) -> None:
        """Begin to listen; a broker that is down is tried until it answers."""
        state.should_stop = None
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Take no further message, and wait so long for the task that is running."""
        self._stopping.set()
        state.should_stop = 0
        if self._app.conf.broker_url.startswith("memory:"):
            self._ring()
        self._thread.join(within_s)
        if not self._thread.is_alive():
            state.should_stop = None

    def _ring(self) -> None:
        """Send what the consumer waits for: its loop looks twice more, two seconds each time."""
        with self._app.connection_for_write() as connection:
            for _ in range(2):
                self._app.send_task(WAKE_TASK, connection=connection)

    def _listen(self) -> None:
        self._app.set_current()  # for this thread
        while not self._stopping.is_set():
            controller = WorkController(
                app=self._app,
                pool="solo",
                concurrency=1,
                without_gossip=True,
                without_heartbeat=True,
                without_mingle=True,
                quiet=True,
            )
            controller.start()
            if not self._stopping.is_set():
                _log.warning("listener_ended", again_s=_AGAIN_S)
                self._stopping.wait(_AGAIN_S)
