from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from service.contract import LOCAL_OWNER, EventType, JobState
from service.errors import NotFoundError
from service.jobs.follow import attempts, history
from service.jobs.steer import retry
from service.store.database import Database
from service.store.history import append
from service.store.ids import new_id
from service.store.tables import Job
from tests.service.running import CountingQueue, store_job


@pytest.mark.stack
def test_a_retry_amid_a_look_at_the_history_is_not_taken_for_the_end(postgresql: Database) -> None:
    job_id = store_job(postgresql, state=JobState.FAILED)
    with postgresql.writing() as session:
        now = datetime.now(UTC)
        append(session, job_id=job_id, fence=1, kind=EventType.FAILED, data={}, now=now)
    retried: list[bool] = []

    def between(_connection: object, _cursor: object, statement: str, *_rest: Any) -> None:  # noqa: ANN401 - SQLAlchemy's own
        if "FROM job_events" in statement and not retried:
            retried.append(True)
            retry(postgresql, CountingQueue(), LOCAL_OWNER, job_id)

    event.listen(postgresql.engine, "before_cursor_execute", between)
    try:
        found = history(postgresql, LOCAL_OWNER, job_id, after=0, limit=200)
    finally:
        event.remove(postgresql.engine, "before_cursor_execute", between)
    assert [each.type for each in found.events] == ["failed", "retried"]
    assert not found.ended


def test_attempts_at_a_job_of_somebody_else_are_not_there(database: Database) -> None:
    job_id = store_job(database)
    assert attempts(database, LOCAL_OWNER, job_id) == []
    with pytest.raises(NotFoundError, match=str(job_id)):
        attempts(database, new_id(), job_id)
    with database.reading() as session:
        assert session.get(Job, job_id) is not None
