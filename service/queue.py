"""The broker, as far as the service needs it: wake a worker, and see whether it answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import structlog

from service.contract import QUEUE, WAKE_TASK

if TYPE_CHECKING:
    from celery import Celery
    from kombu.connection import Connection

BROKER_SECONDS = 1.0
"""How long a broker has to answer. Nothing is lost if it does not: the jobs are in SQL."""

_log = structlog.get_logger(__name__)


class Queue(Protocol):
    """Wakes workers. A wake-up may be lost: workers also look for jobs by themselves."""

    def wake(self) -> None:
        """Ask one worker to look for jobs; a broker that is down is logged, never raised."""

    def ping(self) -> bool:
        """Return whether the broker answers."""


class CeleryQueue:
    """Sends the wake-up by name, so that no worker code is needed here.

    Args:
        broker_url: Celery's address of the broker, `redis://…` or `memory://`.
    """

    def __init__(self, broker_url: str) -> None:
        self._broker_url = broker_url

    def wake(self) -> None:
        """Ask one worker to look for jobs; a broker that is down is logged, never raised."""
        from kombu.exceptions import OperationalError  # noqa: PLC0415 - see _app

        try:
            with self._connected() as connection:
                self._app.send_task(
                    WAKE_TASK, queue=QUEUE, ignore_result=True, retry=False, connection=connection
                )
        except (OperationalError, OSError) as error:
            _log.warning("broker_unreachable", error=str(error))

    def ping(self) -> bool:
        """Return whether the broker answers."""
        from kombu.exceptions import OperationalError  # noqa: PLC0415 - see _app

        try:
            with self._connected():
                return True
        except (OperationalError, OSError):
            return False

    @contextmanager
    def _connected(self) -> Iterator["Connection"]:
        with self._app.connection_for_write() as connection:
            connection.ensure_connection(
                max_retries=1, interval_start=0, interval_step=0, timeout=BROKER_SECONDS
            )
            yield connection

    @cached_property
    def _app(self) -> "Celery":
        from celery import Celery  # noqa: PLC0415 - the start of the service can do without it

        app = Celery("slbi.service", broker=self._broker_url, set_as_current=False)
        app.conf.update(
            task_ignore_result=True,
            task_serializer="json",
            accept_content=["json"],
            broker_connection_timeout=BROKER_SECONDS,
            broker_transport_options={
                "socket_connect_timeout": BROKER_SECONDS,
                "socket_timeout": BROKER_SECONDS,
                "retry_on_timeout": False,
                "max_retries": 1,
                "interval_start": 0,
                "interval_step": 0.1,
                "interval_max": 0.1,
            },
        )
        return app
