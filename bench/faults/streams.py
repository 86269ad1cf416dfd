"""Many clients that follow one job, drop out at random, and come back with Last-Event-ID."""

import asyncio
import os
import random
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from bench.faults.arrangement import Arrangement, stack
from bench.faults.databases import Databases
from bench.faults.fault import Finding, Scope, Try
from bench.faults.history import read
from bench.faults.trial import BRIEF
from service.client.stream import parse
from service.contract import FINAL_STATES, AttemptOutcome
from service.store import claims, recording
from service.store.database import Database
from service.store.ids import new_id

CLIENTS = 100
EVENTS = 600
EVENTS_PER_S = 10.0
FEW_CLIENTS, FEW_EVENTS = 20, 60
"""In the reduced form."""

LONGEST_S = 20.0
"""A client drops out after so long at most; it may be in the middle of an event."""

END_SECONDS = 120.0
"""How long the clients may take to the last event after it was written."""

FLAT = 0.1
"""Share by which the server's memory may grow from the first third of a run to the last."""

_LOOK_S = 0.25


@dataclass(kw_only=True)
class Follower:
    """One client, and what it has seen."""

    moments: random.Random
    """When it drops out."""
    ids: list[int] = field(default_factory=list)
    connections: int = 0
    ended: bool = False
    """The last event was a final one, or the service said that there is nothing more."""


def following(databases: Databases) -> Try:
    """Return what writes events as a run does while clients follow them."""

    def run(scope: Scope, finding: Finding) -> None:
        clients, events = (FEW_CLIENTS, FEW_EVENTS) if scope.quick else (CLIENTS, EVENTS)
        for number in range(scope.times):
            folder = scope.folder / str(number)
            folder.mkdir()
            seeds = [scope.random.random() for _ in range(clients)]
            seen = [Follower(moments=random.Random(seed)) for seed in seeds]  # noqa: S311 - moments
            with stack(folder, workers=0, database=databases(folder)) as arrangement:
                _follow(finding, arrangement, seen, events)
                finding.done += 1

    return run


def wrong_stream(seen: Follower, written: Sequence[int]) -> str | None:
    """Return what does not hold of a stream: every event once, in order, to the end."""
    if seen.ids == list(written) and seen.ended:
        return None
    missing, twice = len(set(written) - set(seen.ids)), len(seen.ids) - len(set(seen.ids))
    told = f"{missing} missing, {twice} twice, {'ended' if seen.ended else 'not ended'}"
    return f"a client must see {len(written)} events once and in order to the end, got {told}"


def _follow(
    finding: Finding, arrangement: Arrangement, seen: Sequence[Follower], events: int
) -> None:
    """Write so many events while the followers follow, and judge what they saw, in place."""
    claim = _claimed(arrangement)
    writing = threading.Thread(target=_write, args=(arrangement.database, claim, events))
    writing.start()
    memory = asyncio.run(_let_them(arrangement, claim.job_id, seen, writing))
    writing.join()
    written = [event.id for event in read(arrangement.database, claim.job_id).events]
    finding.violations += [told for each in seen if (told := wrong_stream(each, written))]
    third = max(1, len(memory) // 3)
    early, late = max(memory[:third]), max(memory[-third:])
    finding.sample("rss_early_mb", early / 2**20)
    finding.sample("rss_late_mb", late / 2**20)
    finding.count("events", len(written))
    finding.count("deliveries", sum(len(each.ids) for each in seen))
    finding.count("connections", sum(each.connections for each in seen))
    if late > early * (1 + FLAT):
        grown = (late - early) / 2**20
        finding.violations.append(f"the server's memory must stay flat, it grew by {grown:.0f} MB")


async def _let_them(
    arrangement: Arrangement,
    job_id: uuid.UUID,
    seen: Sequence[Follower],
    writing: threading.Thread,
) -> list[int]:
    """Let followers follow a job to its end, and return the server's memory meanwhile, bytes."""
    memory: list[int] = []
    async with httpx.AsyncClient(
        base_url=arrangement.client.base_url,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        timeout=60.0,
    ) as client:
        tasks = [asyncio.create_task(_stay(client, job_id, each)) for each in seen]
        end = float("inf")
        while not all(task.done() for task in tasks) and time.monotonic() < end:
            memory.append(arrangement.server.rss_bytes())
            if end == float("inf") and not writing.is_alive():
                end = time.monotonic() + END_SECONDS
            await asyncio.sleep(_LOOK_S)
        for task in tasks:
            task.cancel()
        for failure in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(failure, Exception):
                raise failure
    return memory


async def _stay(client: httpx.AsyncClient, job_id: uuid.UUID, seen: Follower) -> None:
    """Follow to the end, coming back behind the last event whenever the stream was dropped."""
    while not seen.ended:
        seen.connections += 1
        try:
            async with asyncio.timeout(seen.moments.uniform(0, LONGEST_S)):
                await _listen(client, job_id, seen)
        except TimeoutError:
            continue


async def _listen(client: httpx.AsyncClient, job_id: uuid.UUID, seen: Follower) -> None:
    headers = {"Accept": "text/event-stream"}
    if seen.ids:
        headers["Last-Event-ID"] = str(seen.ids[-1])
    async with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        answer.raise_for_status()
        if answer.status_code == httpx.codes.NO_CONTENT:
            seen.ended = True
            return
        block: list[str] = []
        async for line in answer.aiter_lines():
            block.append(line)
            if line:
                continue
            for event in parse(block):
                seen.ids.append(event.id)
                seen.ended = event.type in FINAL_STATES
            block = []


def _claimed(arrangement: Arrangement) -> claims.Claim:
    """Return a new job, held for longer than the run may take."""
    arrangement.submit(BRIEF)
    with arrangement.database.writing() as session:
        claim = claims.claim(
            session,
            worker_id=new_id(),
            host="here",
            device=None,
            pid=os.getpid(),
            now=datetime.now(UTC),
            lease=timedelta(hours=1),
        )
    if claim is None:
        raise LookupError("the only job must be free to be claimed")
    return claim


def _write(database: Database, claim: claims.Claim, events: int) -> None:
    """Report progress as an attempt does, at a steady pace, then success."""
    held: dict[str, Any] = {"job_id": claim.job_id, "fence": claim.fence}
    for number in range(events):
        with database.writing() as session:
            data = {"epoch": number + 1, "widths": dict.fromkeys("abcdefgh", number)}
            recording.progress(session, **held, data=data, now=datetime.now(UTC))
        time.sleep(1 / EVENTS_PER_S)
    with database.writing() as session:
        claims.finish(
            session,
            **held,
            outcome=AttemptOutcome.SUCCEEDED,
            reason=None,
            now=datetime.now(UTC),
            max_attempts=1,
        )
