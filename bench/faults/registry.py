"""Every fault there is, in the order of the table."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from bench.faults import (
    databases,
    disk,
    kills,
    limits,
    migrations,
    pages,
    points,
    servers,
    stale,
    streams,
    submits,
    terminate,
    uploads,
)
from bench.faults.arrangement import Arrange, embedded, stack
from bench.faults.databases import Databases
from bench.faults.fault import Fault, Try
from service.failpoints import WRITES

BOTH: Mapping[str, Arrange] = {"embedded": embedded, "stack": stack}
"""The arrangements in which jobs are run."""

DATABASES: Mapping[str, Databases] = {
    "SQLite": databases.sqlite,
    "PostgreSQL": lambda _folder: databases.postgresql(),
}
"""What an API without workers is tried on."""


JOBS = (10_000, 100_000)
"""In the table whose pages are read."""


def faults() -> tuple[Fault, ...]:
    """Return all faults."""
    return (
        *_kills(),
        *_servers(),
        *_signals(),
        *_failpoints(),
        *_limits(),
        *_disks(),
        *_traffic(),
        *_migrations(),
    )


def _kills() -> Iterator[Fault]:
    yield Fault(
        name="kill-worker",
        arrangement="stack",
        what="kill -9 of the worker",
        times=100,
        run=kills.killing(kills.worker, stack),
    )
    yield from _both(
        name="kill-child",
        what="kill -9 of the training process",
        times=100,
        make=lambda arrange: kills.killing(kills.child, arrange),
    )
    yield Fault(
        name="kill-server",
        arrangement="embedded",
        what="kill -9 of the whole server",
        times=30,
        run=kills.killing(kills.worker, embedded),
    )

    yield from _both(
        name="damaged-checkpoint",
        what="kill -9 of the training process, its newest checkpoint damaged",
        times=15,
        make=lambda arrange: kills.killing(kills.child_and_checkpoint, arrange),
    )


def _servers() -> Iterator[Fault]:
    yield Fault(
        name="redis-flush",
        arrangement="stack",
        what="Redis FLUSHALL",
        times=15,
        run=servers.redis_flush,
    )
    yield Fault(
        name="redis-stop",
        arrangement="stack",
        what="Redis stopped and started",
        times=5,
        run=servers.redis_stop,
    )
    yield Fault(
        name="postgres-restart",
        arrangement="stack",
        what="PostgreSQL restart, immediate mode, mid-job",
        times=10,
        run=servers.postgres_restart,
    )


def _signals() -> Iterator[Fault]:
    yield Fault(
        name="stop-worker",
        arrangement="stack",
        what="SIGSTOP of a worker past its lease, then SIGCONT",
        times=15,
        run=stale.stopping(child_too=False),
    )
    yield Fault(
        name="stop-both",
        arrangement="stack",
        what="the same, of the worker and its training process",
        times=15,
        few=0,
        run=stale.stopping(child_too=True),
    )
    yield from _both(
        name="terminate",
        what="SIGTERM while training",
        times=20,
        make=terminate.terminating,
        tested="stack",
    )


def _failpoints() -> Iterator[Fault]:
    yield from _both(
        name="failpoints",
        what="a kill at every failpoint",
        times=len(points.POINTS),
        make=points.killing_at_every_point,
        tested="stack",
    )
    yield from _both(
        name="failpoints-finish",
        what="a kill of the supervisor at every failpoint of `finish`",
        times=2 * len(WRITES["finish"]),
        make=points.killing_while_the_supervisor_finishes,
    )


def _limits() -> Iterator[Fault]:
    yield from _both(
        name="segfault", what="segfault of every training process", times=1, make=limits.segfault
    )
    yield Fault(
        name="out-of-memory",
        arrangement="stack",
        what="a training process without memory",
        times=1,
        run=limits.out_of_memory,
    )
    yield from _both(
        name="dataset-deleted",
        what="data set deleted, waiting and mid-job",
        times=1,
        make=limits.dataset_deleted,
    )


def _disks() -> Iterator[Fault]:
    yield from _both(
        name="disk-checkpoint",
        what="disk full at a checkpoint",
        times=3,
        make=disk.at_checkpoint,
    )
    for arrangement, arrange in BOTH.items():
        yield Fault(
            name="disk-upload",
            arrangement=arrangement,
            what="disk full at an upload",
            times=10,
            run=uploads.filling(arrange),
        )
    yield Fault(
        name="disk-database",
        arrangement="embedded",
        what="disk full at a database write",
        times=3,
        run=disk.at_sqlite_write,
    )
    yield Fault(
        name="disk-database",
        arrangement="stack",
        what="disk full at a database write",
        times=3,
        run=disk.at_postgres_write,
    )


def _traffic() -> Iterator[Fault]:
    yield from _databases(
        name="submits",
        what="1,000 submits by 8 clients, each sent twice",
        make=submits.submitting_twice,
    )
    yield from _databases(
        name="streams",
        what="100 SSE clients that drop out and come back",
        make=streams.following,
    )
    for jobs in JOBS:
        yield from _databases(
            name=f"pages-{jobs}",
            what=f"{jobs:,} jobs, 4 clients, pages of {pages.PAGE}",
            make=partial(pages.walking, jobs=jobs),
            few=int(jobs == JOBS[0]),
        )


def _migrations() -> Iterator[Fault]:
    yield from _databases(
        name="migrations",
        what="every revision up and down, and up with rows",
        make=migrations.migrating,
    )


def _both(
    *, name: str, what: str, times: int, make: Callable[[Arrange], Try], tested: str = "embedded"
) -> Iterator[Fault]:
    """Give a fault in both arrangements; the tests make it in the one that is `tested`."""
    for arrangement, arrange in BOTH.items():
        yield Fault(
            name=name,
            arrangement=arrangement,
            what=what,
            times=times,
            few=int(arrangement == tested),
            run=make(arrange),
        )


def _databases(
    *, name: str, what: str, make: Callable[[Databases], Try], few: int = 1
) -> Iterator[Fault]:
    for database, opened in DATABASES.items():
        run = make(opened)
        yield Fault(name=name, arrangement=database, what=what, times=1, few=few, run=run)
