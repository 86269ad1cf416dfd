"""A worker as a process of its own: `slbi worker` finds it by entry point."""

import argparse
import signal
import sys
import threading

from sqlalchemy.exc import SQLAlchemyError

from migrations.revision import current, head
from service import failpoints
from service.logs import configure
from service.settings import Settings
from service.store.database import Database
from worker.jobs.worker import Worker

EXIT_FAILED = 1
EXIT_USAGE = 2


def run(argv: list[str]) -> int:
    """Work until SIGTERM or SIGINT, hand the running job back, and return the exit code.

    A second signal ends the process at once; its training process dies with it.
    """
    parser = argparse.ArgumentParser(
        prog="slbi worker",
        description="Work on jobs until SIGTERM; then hand the running one back. Settings: SLBI_…",
    )
    parser.add_argument("--json", action="store_true", help="log a line of JSON for each event")
    options = parser.parse_args(argv)
    settings = Settings(log_format="json") if options.json else Settings()
    if settings.broker_url.startswith("memory:"):
        sys.stderr.write(
            "SLBI_BROKER_URL must name a broker that other processes reach, "
            f"got {settings.broker_url}\n"
        )
        return EXIT_USAGE
    configure(settings.log_format)
    failpoints.arm(settings.failpoint_dir)
    database = Database(settings.database)
    if (refusal := _refusal(database)) is not None:
        sys.stderr.write(f"{refusal}\n")
        return EXIT_FAILED
    stop = threading.Event()

    def handle(_number: int, _frame: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    worker = Worker(settings, database)
    worker.start()
    stop.wait()
    worker.stop()
    database.close()
    return 0


def _refusal(database: Database) -> str | None:
    """Return why a worker must not touch this database, None if it may."""
    try:
        at = current(database)
    except SQLAlchemyError as error:
        return f"the database must answer, got: {error}"
    if at == head():
        return None
    return f"the database must be at revision {head()}, it is at {at or 'none'}: run `slbi migrate`"


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
