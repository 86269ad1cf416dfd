"""The one Celery task. What it does is the supervisor's business."""

from collections.abc import Callable

from celery import Celery

from service.contract import WAKE_TASK


def add_wake_task(app: Celery, look_for_jobs: Callable[[], None]) -> None:
    """Let `app` answer a wake-up by looking for jobs; a needless one finds none, to no harm."""
    # Not shared: Celery would hand this very function to every other application of the process.
    app.task(look_for_jobs, name=WAKE_TASK, shared=False)
