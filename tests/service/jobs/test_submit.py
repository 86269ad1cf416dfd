from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import func, select

from service.catalogue import Catalogue
from service.contract import LOCAL_OWNER
from service.jobs.submit import submit
from service.spec.jobs import read_spec
from service.store.database import Database
from service.store.tables import IdempotencyKey, Job
from tests.service.origins import store_origin
from tests.service.running import SPEC, CountingQueue, Service

TOGETHER = 8


@pytest.fixture
def databases(database: Database) -> Iterator[list[Database]]:
    """As many ways to one database as there are processes of the service."""
    url = database.engine.url.render_as_string(hide_password=False)
    opened = [Database(url) for _ in range(TOGETHER)]
    yield opened
    for each in opened:
        each.close()


def test_submits_at_once_with_one_idempotency_key_make_one_job(
    databases: list[Database], catalogue: Catalogue
) -> None:
    spec = read_spec(SPEC)
    queue = CountingQueue()
    start = Barrier(TOGETHER)

    def ask(database: Database) -> tuple[str, bool]:
        start.wait()
        made = submit(
            database,
            queue,
            catalogue,
            (Path("nowhere"),),
            artifacts=Path("nowhere"),
            owner=LOCAL_OWNER,
            spec=spec,
            idempotency_key="one",
        )
        return str(made.job.id), made.replayed

    with ThreadPoolExecutor(TOGETHER) as pool:
        answers = list(pool.map(ask, databases))

    assert len({job_id for job_id, _ in answers}) == 1
    assert [replayed for _, replayed in answers].count(False) == 1
    assert queue.wakes == 1
    with databases[0].reading() as session:
        for table in (Job, IdempotencyKey):
            assert session.execute(select(func.count()).select_from(table)).scalar_one() == 1


def test_a_worker_is_woken_only_when_the_job_can_be_seen(
    database: Database, catalogue: Catalogue
) -> None:
    seen: list[int] = []

    class LookingQueue(CountingQueue):
        def wake(self) -> None:
            with database.reading() as session:
                seen.append(session.execute(select(func.count()).select_from(Job)).scalar_one())

    submit(
        database,
        LookingQueue(),
        catalogue,
        (),
        artifacts=Path("nowhere"),
        owner=LOCAL_OWNER,
        spec=read_spec(SPEC),
        idempotency_key=None,
    )
    assert seen == [1]


def test_exports_asked_for_at_once_are_one_job(
    service: Service, databases: list[Database], catalogue: Catalogue
) -> None:
    origin = store_origin(service)
    spec = read_spec({"kind": "export", "source": {"job": str(origin.job)}})
    start = Barrier(TOGETHER)

    def ask(database: Database) -> tuple[str, bool]:
        start.wait()
        made = submit(
            database,
            service.queue,
            catalogue,
            service.settings.datasets,
            artifacts=service.settings.artifacts,
            owner=LOCAL_OWNER,
            spec=spec,
            idempotency_key=None,
        )
        return str(made.job.id), made.reused

    with ThreadPoolExecutor(TOGETHER) as pool:
        answers = list(pool.map(ask, databases))

    assert len({job_id for job_id, _ in answers}) == 1
    assert [reused for _, reused in answers].count(False) == 1
    assert service.queue.wakes == 1
