"""Cancel, pause, resume and retry, and the list of a job's attempts, as a client sees them."""

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from service.contract import FINAL_STATES, AttemptOutcome, EventType, JobState
from service.store.database import Database
from service.store.history import append
from service.store.ids import new_id
from service.store.tables import Attempt, Job, JobEvent
from tests.service.running import NOON, Service, store_job

CALLS = ("cancel", "pause", "resume", "retry")

POSSIBLE = {
    "cancel": ("validating", "queued", "running", "pausing", "paused", "cancelling"),
    "pause": ("queued", "running", "pausing", "paused"),
    "resume": ("pausing", "paused"),
    "retry": ("failed", "cancelled"),
}
DONE = {"cancel": "cancelled", "pause": "paused", "resume": "resumed", "retry": "retried"}


def _ask(service: Service, job_id: uuid.UUID, what: str) -> Any:  # noqa: ANN401 - httpx's own
    return service.client.post(f"/v1/jobs/{job_id}/{what}")


def _happened(database: Database, job_id: uuid.UUID) -> Sequence[str]:
    with database.reading() as session:
        wanted = select(JobEvent.type).where(JobEvent.job_id == job_id).order_by(JobEvent.id)
        return session.scalars(wanted).all()


def _job(database: Database, job_id: uuid.UUID) -> Job:
    with database.reading() as session:
        job = session.get_one(Job, job_id)
        session.expunge(job)
    return job


def _store_attempt(
    database: Database,
    job_id: uuid.UUID,
    fence: int,
    outcome: AttemptOutcome | None = None,
    resumed_from: int | None = None,
) -> uuid.UUID:
    worker_id = new_id()
    began = NOON + timedelta(minutes=fence)
    with database.writing() as session:
        session.add(
            Attempt(
                job_id=job_id,
                fence=fence,
                worker_id=worker_id,
                host=f"host {fence}",
                device="cpu",
                started_at=began,
                ended_at=began + timedelta(seconds=50) if outcome else None,
                outcome=outcome,
                reason="It was so." if outcome else None,
                resumed_from=resumed_from,
            )
        )
    return worker_id


@pytest.mark.parametrize(
    ("state", "what", "after", "happened"),
    [
        ("queued", "pause", "paused", ["pause_requested", "paused"]),
        ("running", "pause", "pausing", ["pause_requested"]),
        ("paused", "resume", "queued", ["resumed"]),
        ("pausing", "resume", "running", ["resumed"]),
        ("failed", "retry", "queued", ["retried"]),
        ("cancelled", "retry", "queued", ["retried"]),
        ("queued", "cancel", "cancelled", ["cancel_requested", "cancelled"]),
        ("paused", "cancel", "cancelled", ["cancel_requested", "cancelled"]),
        ("running", "cancel", "cancelling", ["cancel_requested"]),
        ("pausing", "cancel", "cancelling", ["cancel_requested"]),
    ],
)
def test_a_job_goes_where_it_is_steered(
    service: Service, state: str, what: str, after: str, happened: list[str]
) -> None:
    pausing = state == "pausing"
    job_id = store_job(service.database, state=state, pause_requested=pausing)
    answer = _ask(service, job_id, what)

    assert (answer.status_code, answer.json()["state"]) == (202, after)
    assert answer.json() == service.client.get(f"/v1/jobs/{job_id}").json()
    assert answer.json()["pause_requested"] is (after == "pausing")
    assert _happened(service.database, job_id) == happened
    assert service.queue.wakes == (after == "queued")


@pytest.mark.parametrize("what", CALLS)
@pytest.mark.parametrize("state", list(JobState))
def test_a_wrong_state_is_a_conflict_that_names_the_right_ones(
    local: Service, what: str, state: JobState
) -> None:
    job_id = store_job(local.database, state=state)
    before = _job(local.database, job_id)
    answer = _ask(local, job_id, what)

    if state in POSSIBLE[what]:
        assert answer.status_code == 202
        return
    assert answer.status_code == 409
    assert answer.json()["code"] == "conflict"
    possible = ", ".join(POSSIBLE[what])
    assert answer.json()["detail"] == f"A job must be {possible} to be {DONE[what]}, got {state}."
    after = _job(local.database, job_id)
    assert all(getattr(after, each.key) == getattr(before, each.key) for each in Job.__table__.c)
    assert _happened(local.database, job_id) == []
    assert local.queue.wakes == 0


@pytest.mark.parametrize("state", ["queued", "running"])
def test_pausing_twice_is_told_once(service: Service, state: str) -> None:
    job_id = store_job(service.database, state=state)
    answers = [_ask(service, job_id, "pause") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [202] * 3
    assert len({answer.json()["state"] for answer in answers}) == 1
    assert _happened(service.database, job_id).count("pause_requested") == 1


def test_a_paused_job_keeps_its_place_and_a_retried_one_goes_to_the_end(service: Service) -> None:
    paused = store_job(service.database)
    failed = store_job(service.database, state=JobState.FAILED, ended_at=NOON, error="It broke.")
    _ask(service, paused, "pause")
    resumed = _ask(service, paused, "resume").json()
    retried = _ask(service, failed, "retry").json()

    assert resumed["queued_at"] == "2026-01-02T12:00:00Z"
    assert retried["queued_at"] > resumed["queued_at"]
    assert (retried["error"], retried["ended_at"]) == (None, None)


def test_what_somebody_pauses_does_not_go_on_when_there_is_room(service: Service) -> None:
    job_id = store_job(
        service.database, state=JobState.PAUSED, space_needed=10**9, error="The disk is full."
    )
    answer = _ask(service, job_id, "pause").json()
    assert (answer["state"], answer["error"]) == ("paused", "The disk is full.")
    assert _job(service.database, job_id).space_needed is None


def test_a_resumed_job_has_no_reason_any_more(service: Service) -> None:
    job_id = store_job(
        service.database, state=JobState.PAUSED, space_needed=10**9, error="The disk is full."
    )
    assert _ask(service, job_id, "resume").json()["error"] is None
    assert _job(service.database, job_id).space_needed is None


def test_a_job_shows_time_left_only_while_it_is_worked_on(local: Service) -> None:
    progress = {"epoch": 2, "eta_seconds": 9.0, "widths": {}}
    shown = {
        state: local.client.get(
            f"/v1/jobs/{store_job(local.database, state=state, progress=progress)}"
        ).json()["eta_seconds"]
        for state in JobState
    }
    assert {state for state, eta in shown.items() if eta == 9.0} == {
        "running", "pausing", "cancelling",
    }  # fmt: skip


def test_every_link_of_a_job_leads_to_a_route(local: Service) -> None:
    job_id = store_job(local.database)
    links = local.client.get(f"/v1/jobs/{job_id}").json()["links"]
    assert {*CALLS, "attempts", "events"} <= set(links)
    paths = local.client.get("/openapi.json").json()["paths"]
    for name, link in links.items():
        method = "post" if name in CALLS else "get"
        assert method in paths[link.replace(str(job_id), "{job_id}")], name


def test_attempts_are_listed_oldest_first_with_where_each_began(service: Service) -> None:
    job_id = store_job(service.database, state=JobState.RUNNING, fence=3, attempts=3)
    _store_attempt(service.database, store_job(service.database), 1)
    last = _store_attempt(service.database, job_id, 3, resumed_from=120)
    _store_attempt(service.database, job_id, 2, AttemptOutcome.NO_SPACE, resumed_from=60)
    _store_attempt(service.database, job_id, 1, AttemptOutcome.LOST)

    items = service.client.get(f"/v1/jobs/{job_id}/attempts").json()["items"]
    assert [(each["number"], each["outcome"], each["resumed_from"]) for each in items] == [
        (1, "lost", None),
        (2, "no_space", 60),
        (3, None, 120),
    ]
    assert items[2] == {
        "number": 3,
        "fence": 3,
        "worker_id": str(last),
        "host": "host 3",
        "device": "cpu",
        "started_at": "2026-01-02T12:03:00Z",
        "ended_at": None,
        "outcome": None,
        "reason": None,
        "resumed_from": 120,
    }
    assert service.client.get(f"/v1/jobs/{job_id}").json()["attempt"] == items[2]


def test_a_job_that_nobody_began_with_has_no_attempts(service: Service) -> None:
    job_id = store_job(service.database)
    assert service.client.get(f"/v1/jobs/{job_id}/attempts").json() == {"items": []}


def _end(database: Database, job_id: uuid.UUID, state: JobState) -> None:
    now = datetime.now(UTC)
    with database.writing() as session:
        session.get_one(Job, job_id).state = state
        append(session, job_id=job_id, fence=1, kind=EventType(state), data={}, now=now)


def _stream(service: Service, job_id: uuid.UUID, after: int = 0) -> list[tuple[int, str]]:
    answer = service.client.get(
        f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": str(after)} if after else {}
    )
    assert answer.status_code == (200 if answer.content else 204)
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines())
        for block in answer.text.split("\n\n")
        if "id: " in block
    ]
    assert all(json.loads(block["data"])["at"] for block in blocks)
    return [(int(block["id"]), block["event"]) for block in blocks]


def test_a_stream_of_a_retried_job_goes_on_behind_its_first_end(service: Service) -> None:
    job_id = store_job(service.database, state=JobState.RUNNING, fence=1, attempts=1)
    _end(service.database, job_id, JobState.FAILED)
    first = _stream(service, job_id)
    assert [kind for _, kind in first] == ["failed"]
    assert _stream(service, job_id, first[-1][0]) == []

    _ask(service, job_id, "retry")
    page = service.client.get(f"/v1/jobs/{job_id}/events?after={first[-1][0]}").json()
    assert ([each["type"] for each in page["items"]], page["ended"]) == (["retried"], False)

    _end(service.database, job_id, JobState.SUCCEEDED)
    rest = _stream(service, job_id, first[-1][0])
    assert [kind for _, kind in rest] == ["retried", "succeeded"]
    assert _stream(service, job_id) == first + rest
    assert _stream(service, job_id, rest[-1][0]) == []


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    calls=st.lists(st.sampled_from(CALLS), max_size=8),
    state=st.sampled_from([JobState.QUEUED, JobState.RUNNING, JobState.FAILED]),
)
def test_no_order_of_calls_breaks_a_job(
    service: Service, calls: list[str], state: JobState
) -> None:
    job_id = store_job(service.database, state=state)
    for what in calls:
        before = service.client.get(f"/v1/jobs/{job_id}").json()["state"]
        answer = _ask(service, job_id, what)
        assert answer.status_code == (202 if before in POSSIBLE[what] else 409), answer.text
    job = _job(service.database, job_id)
    assert job.pause_requested is (job.state == JobState.PAUSING)
    assert job.cancel_requested is (job.state in {JobState.CANCELLING, JobState.CANCELLED})
    assert (job.ended_at is None) or job.state in FINAL_STATES
