"""The Celery application of a worker. Making it connects to nothing."""

from typing import Any

from celery import Celery

from service.contract import QUEUE
from service.settings import Settings

_MEMORY_POLL_S = 0.1
"""kombu looks into a queue in memory only once a second unless told otherwise."""


def make_app(settings: Settings) -> Celery:
    """Return an application that takes wake-ups from the broker of the settings.

    A message is acknowledged when it is read: it carries nothing, and what it would have started is
    in the database. So no visibility timeout can run a job twice, and none can strand it.
    """
    app = Celery("slbi.worker", broker=settings.broker_url, set_as_current=False)
    transport: dict[str, Any] = {}
    if settings.broker_url.startswith("memory:"):
        transport["polling_interval"] = _MEMORY_POLL_S
    app.conf.update(
        accept_content=["json"],
        broker_connection_max_retries=None,  # for ever
        broker_connection_retry_on_startup=True,
        broker_transport_options=transport,
        task_acks_late=False,
        task_create_missing_queues=True,
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_serializer="json",
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_disable_prefetch=settings.broker_url.startswith("redis"),  # only Redis knows it
        worker_enable_remote_control=False,  # jobs are cancelled in the database
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_redirect_stdouts=False,
    )
    return app
