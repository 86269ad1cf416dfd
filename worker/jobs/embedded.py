"""The worker inside the server's process: `slbi serve` finds it by entry point."""

from service.settings import Settings
from service.store.database import Database
from worker.jobs.worker import Worker


def start(settings: Settings, database: Database) -> Worker:
    """Start a worker and return it; its `stop()` hands the running job back."""
    worker = Worker(settings, database)
    worker.start()
    return worker
