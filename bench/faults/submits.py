"""Many submits at once, each sent twice with its Idempotency-Key, and no worker that takes any."""

import random
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import quantiles

import httpx
from sqlalchemy import func, select

from bench.faults.arrangement import stack
from bench.faults.databases import Databases
from bench.faults.fault import Finding, Scope, Try
from bench.faults.trial import BRIEF
from service.contract import EventType
from service.store.database import Database
from service.store.tables import Job, JobEvent

JOBS = 1000
CLIENTS = 8
FEW_JOBS = 60
"""In the reduced form."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of one submit."""

    key: str
    status: int
    job_id: str | None
    replayed: bool
    seconds: float


def submitting_twice(databases: Databases) -> Try:
    """Return what has 8 clients submit every job twice, in an order that mixes both copies."""

    def run(scope: Scope, finding: Finding) -> None:
        jobs = FEW_JOBS if scope.quick else JOBS
        for number in range(scope.times):
            folder = scope.folder / str(number)
            folder.mkdir()
            with stack(folder, workers=0, database=databases(folder)) as arrangement:
                begun = time.monotonic()
                answers = _flood(str(arrangement.client.base_url), jobs, scope.random)
                finding.sample("submits_per_s", len(answers) / (time.monotonic() - begun))
                finding.done += 1
                times = [answer.seconds for answer in answers]
                finding.sample("p99_ms", 1000 * quantiles(times, n=100)[-1])
                finding.violations += wrong_answers(answers, jobs)
                finding.violations += _wrong_rows(arrangement.database, jobs)

    return run


def wrong_answers(answers: Sequence[Answer], jobs: int) -> list[str]:
    """Return what does not hold of the answers: two a key, of one job, one of them replayed."""
    told = []
    statuses = Counter(answer.status for answer in answers)
    if statuses != {202: 2 * jobs}:
        told.append(f"every submit must be answered by 202, got {dict(statuses)}")
    ids: dict[str, list[str | None]] = {}
    for answer in answers:
        ids.setdefault(answer.key, []).append(answer.job_id)
    split = [key for key, found in ids.items() if len(set(found)) != 1]
    if split:
        told.append(f"a key must give the same job each time, {len(split)} gave two")
    if len({job_id for found in ids.values() for job_id in found}) != jobs:
        told.append(f"{jobs} keys must give {jobs} jobs")
    replayed = sum(answer.replayed for answer in answers)
    if replayed != jobs:
        told.append(f"{jobs} answers must say that they are replayed, {replayed} did")
    return told


def _flood(address: str, jobs: int, order: random.Random) -> list[Answer]:
    keys = [uuid.uuid4().hex for _ in range(jobs)] * 2
    order.shuffle(keys)
    shares = [keys[number::CLIENTS] for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        return [
            answer for share in pool.map(lambda s: _submit(address, s), shares) for answer in share
        ]


def _submit(address: str, keys: Sequence[str]) -> list[Answer]:
    answers = []
    with httpx.Client(base_url=address, timeout=60) as client:
        for key in keys:
            begun = time.perf_counter()
            spec = {**BRIEF, "label": key}
            came = client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": key})
            answers.append(
                Answer(
                    key=key,
                    status=came.status_code,
                    job_id=came.json().get("id"),
                    replayed=came.headers.get("Idempotency-Replayed") == "true",
                    seconds=time.perf_counter() - begun,
                )
            )
    return answers


def _wrong_rows(database: Database, jobs: int) -> list[str]:
    with database.reading() as session:
        stored = session.scalar(select(func.count()).select_from(Job))
        submitted = select(func.count()).where(JobEvent.type == EventType.SUBMITTED)
        told = session.scalar(submitted)
    if (stored, told) == (jobs, jobs):
        return []
    return [f"there must be {jobs} jobs and as many submitted events, got {stored} and {told}"]
