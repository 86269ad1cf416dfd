from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import func, select

from service.contract import LOCAL_OWNER, EventType, JobState
from service.errors import ConflictError, NotFoundError
from service.jobs.steer import cancel, pause, resume, retry
from service.store.database import Database
from service.store.ids import new_id
from service.store.tables import Job, JobEvent
from tests.service.running import CountingQueue, store_job

TOGETHER = 8


@pytest.fixture
def databases(database: Database) -> Iterator[list[Database]]:
    """As many ways to one database as there are processes of the service."""
    url = database.engine.url.render_as_string(hide_password=False)
    opened = [Database(url) for _ in range(TOGETHER)]
    yield opened
    for each in opened:
        each.close()


def _together(databases: list[Database], *calls: Callable[[Database], object]) -> list[bool]:
    """Make one call each, all at once, and return which were let."""
    start = Barrier(len(databases))

    def ask(number: int) -> bool:
        start.wait()
        try:
            calls[number % len(calls)](databases[number])
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(len(databases)) as pool:
        return list(pool.map(ask, range(len(databases))))


def _count(database: Database, kind: EventType) -> int:
    with database.reading() as session:
        counted = select(func.count()).select_from(JobEvent).where(JobEvent.type == kind)
        return session.scalars(counted).one()


def test_pauses_at_once_are_one_pause(databases: list[Database]) -> None:
    job_id = store_job(databases[0])
    assert all(_together(databases, lambda database: pause(database, LOCAL_OWNER, job_id)))
    assert _count(databases[0], EventType.PAUSED) == 1


@pytest.mark.parametrize(
    ("state", "call", "kind"),
    [
        (JobState.PAUSED, resume, EventType.RESUMED),
        (JobState.FAILED, retry, EventType.RETRIED),
    ],
)
def test_of_resumes_or_retries_at_once_one_is_let(
    databases: list[Database],
    state: JobState,
    call: Callable[..., object],
    kind: EventType,
) -> None:
    job_id, queue = store_job(databases[0], state=state), CountingQueue()
    let = _together(databases, lambda database: call(database, queue, LOCAL_OWNER, job_id))
    assert let.count(True) == 1
    assert _count(databases[0], kind) == 1
    assert queue.wakes == 1


def test_a_cancel_among_pauses_and_resumes_always_ends_the_job(databases: list[Database]) -> None:
    job_id, queue = store_job(databases[0]), CountingQueue()
    _together(
        databases,
        lambda database: pause(database, LOCAL_OWNER, job_id),
        lambda database: resume(database, queue, LOCAL_OWNER, job_id),
        lambda database: cancel(database, LOCAL_OWNER, job_id),
    )
    with databases[0].reading() as session:
        assert session.get_one(Job, job_id).state == JobState.CANCELLED
    assert _count(databases[0], EventType.CANCELLED) == 1


@pytest.mark.parametrize(
    ("state", "call"), [(JobState.PAUSED, resume), (JobState.CANCELLED, retry)]
)
def test_a_worker_is_woken_only_when_the_job_can_be_seen_in_the_queue(
    database: Database, state: JobState, call: Callable[..., object]
) -> None:
    seen: list[str] = []

    class LookingQueue(CountingQueue):
        def wake(self) -> None:
            with database.reading() as session:
                seen.extend(session.scalars(select(Job.state)))

    job_id = store_job(database, state=state)
    call(database, LookingQueue(), LOCAL_OWNER, job_id)
    assert seen == ["queued"]


def test_a_job_of_somebody_else_is_not_there_to_be_steered(database: Database) -> None:
    stranger, queue = new_id(), CountingQueue()
    waiting = store_job(database)
    paused = store_job(database, state=JobState.PAUSED)
    failed = store_job(database, state=JobState.FAILED)
    calls: list[Callable[[], object]] = [
        lambda: cancel(database, stranger, waiting),
        lambda: pause(database, stranger, waiting),
        lambda: resume(database, queue, stranger, paused),
        lambda: retry(database, queue, stranger, failed),
    ]
    for call in calls:
        with pytest.raises(NotFoundError, match="No job has id"):
            call()
    assert queue.wakes == 0
