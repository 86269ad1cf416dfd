import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from service.api.events import POLL_SECONDS
from service.catalogue import Catalogue
from service.contract import EventType, JobState
from service.keys import revoke_key
from service.main import create_app
from service.settings import Settings
from service.store.database import Database
from service.store.history import append
from service.store.tables import Job
from tests.service.running import SPEC, CountingQueue, Service, store_job


def _append(database: Database, job_id: uuid.UUID, *kinds: EventType) -> None:
    with database.writing() as session:
        for kind in kinds:
            now = datetime.now(UTC)
            append(session, job_id=job_id, fence=2, kind=kind, data={"kind": kind}, now=now)


def _end(database: Database, job_id: uuid.UUID) -> None:
    with database.writing() as session:
        session.get_one(Job, job_id).state = JobState.SUCCEEDED
        now = datetime.now(UTC)
        append(session, job_id=job_id, fence=2, kind=EventType.SUCCEEDED, data={}, now=now)


def _parse(text: str) -> list[dict[str, Any]]:
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line)
        if "id" in fields:
            events.append({**fields, "data": json.loads(fields["data"])})
    return events


def test_a_page_of_events_leads_on_to_the_next(service: Service) -> None:
    job_id = store_job(service.database)
    _append(service.database, job_id, *[EventType.PROGRESS] * 5)
    _append(service.database, store_job(service.database), EventType.PROGRESS)

    seen: list[int] = []
    after = 0
    while True:
        page = service.client.get(f"/v1/jobs/{job_id}/events?after={after}&limit=2").json()
        if not page["items"]:
            break
        seen += [event["id"] for event in page["items"]]
        after = page["next_after"]
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen)
    assert after == seen[-1]
    assert page["ended"] is False


def test_who_accepts_only_json_gets_a_page(service: Service) -> None:
    job_id = service.client.post("/v1/jobs", json=SPEC).json()["id"]
    page = service.client.get(
        f"/v1/jobs/{job_id}/events", headers={"Accept": "application/json"}
    ).json()
    (event,) = page["items"]
    assert (event["type"], event["attempt"]) == ("submitted", 0)
    assert event["data"] == {
        "kind": "grow",
        "dataset": "digits",
        "backbone": "vgg11",
        "label": None,
    }


def test_the_page_that_ends_a_job_says_so(service: Service) -> None:
    job_id = store_job(service.database)
    _append(service.database, job_id, EventType.CLAIMED)
    _end(service.database, job_id)
    url = f"/v1/jobs/{job_id}/events?after=0"
    assert service.client.get(f"{url}&limit=1").json()["ended"] is False
    assert service.client.get(f"{url}&limit=3").json()["ended"] is True


def test_a_stream_gives_what_was_and_what_comes_and_ends_with_the_job(service: Service) -> None:
    job_id = store_job(service.database, state=JobState.RUNNING)
    _append(service.database, job_id, EventType.CLAIMED)

    def work() -> None:
        _append(service.database, job_id, EventType.PROGRESS)
        _end(service.database, job_id)

    later = threading.Timer(0.7, work)
    later.start()
    answer = service.client.get(f"/v1/jobs/{job_id}/events")
    later.join()

    assert answer.headers["Content-Type"].startswith("text/event-stream")
    events = _parse(answer.text)
    assert [event["event"] for event in events] == ["claimed", "progress", "succeeded"]
    assert events[1]["data"]["attempt"] == 2
    assert events[1]["data"]["kind"] == "progress"


def test_a_stream_goes_on_behind_the_last_event_that_came(service: Service) -> None:
    job_id = store_job(service.database)
    _append(service.database, job_id, EventType.CLAIMED, EventType.PROGRESS)
    _end(service.database, job_id)
    url = f"/v1/jobs/{job_id}/events"
    every = _parse(service.client.get(url).text)

    rest = service.client.get(url, headers={"Last-Event-ID": every[0]["id"]})
    assert _parse(rest.text) == every[1:]

    nothing = service.client.get(url, headers={"Last-Event-ID": every[-1]["id"]})
    assert (nothing.status_code, nothing.content) == (204, b"")


def test_a_stream_ends_when_its_key_is_revoked(service: Service) -> None:
    client = service.client_with_key("first")
    key_id = service.keys["first"]
    job_id = store_job(service.database, key_id, state=JobState.RUNNING)
    _append(service.database, job_id, EventType.CLAIMED)

    def work() -> None:
        revoke_key(service.database, key_id)
        _append(service.database, job_id, EventType.PROGRESS)
        time.sleep(2 * POLL_SECONDS)
        _end(service.database, job_id)  # so that a stream that goes on ends too

    later = threading.Timer(0.7, work)
    later.start()
    answer = client.get(f"/v1/jobs/{job_id}/events")
    later.join()
    assert [event["event"] for event in _parse(answer.text)] == ["claimed"]


def test_a_stream_longer_than_a_page_is_whole(service: Service) -> None:
    job_id = store_job(service.database)
    _append(service.database, job_id, *[EventType.PROGRESS] * 450)
    _end(service.database, job_id)
    events = _parse(service.client.get(f"/v1/jobs/{job_id}/events").text)
    assert len({event["id"] for event in events}) == 451


def test_a_last_event_id_that_is_none_is_refused(local: Service) -> None:
    job_id = store_job(local.database)
    for value in ("x", "-1", str(2**63)):
        answer = local.client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": value})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "last-event-id"


class Outage(Database):
    """A database that can be taken away."""

    away = False

    @contextmanager
    def reading(self) -> Iterator[Session]:
        if self.away:
            raise OperationalError("SELECT 1", {}, ConnectionError("the database system is gone"))
        with super().reading() as session:
            yield session


def test_a_stream_whose_database_goes_away_ends_and_is_taken_up_when_it_is_back(
    database: Database, settings: Settings, catalogue: Catalogue
) -> None:
    outage = Outage(database.engine.url.render_as_string(hide_password=False))
    app = create_app(settings, outage, CountingQueue(), catalogue)
    job_id = store_job(outage, state=JobState.RUNNING)
    _append(outage, job_id, EventType.CLAIMED)

    def take_away() -> None:
        outage.away = True

    later = threading.Timer(0.7, take_away)
    later.start()
    url = f"/v1/jobs/{job_id}/events"
    with TestClient(
        app, base_url="http://127.0.0.1"
    ) as client:  # it would raise what is not caught
        first = client.get(url)
        later.join()
        (event,) = _parse(first.text)
        behind = {"Last-Event-ID": event["id"]}
        refused = client.get(url, headers=behind)
        outage.away = False
        _end(outage, job_id)
        rest = client.get(url, headers=behind)
    outage.close()
    assert (first.status_code, event["event"]) == (200, "claimed")
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert [event["event"] for event in _parse(rest.text)] == ["succeeded"]
