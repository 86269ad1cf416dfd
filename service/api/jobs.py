"""Routes: submit, list, follow and steer jobs."""

import hashlib
import uuid
from functools import partial
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query, Response
from starlette.responses import JSONResponse

from service.api.access import Owner
from service.api.answers.jobs import (
    AttemptAnswer,
    AttemptList,
    ForecastAnswer,
    JobAnswer,
    JobPage,
)
from service.api.context import Here
from service.api.cursors import cursor_of, position
from service.api.problems import documented
from service.api.questions import JobsQuery, SubmitJobQuery
from service.contract import FINAL_STATES
from service.jobs.follow import FollowedJob, attempts, find, page
from service.jobs.steer import cancel, pause, resume, retry
from service.jobs.submit import forecast, submit
from service.spec.jobs import JobSpec

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

ASK_AGAIN_SECONDS = 2
"""When it is worth asking again for a job that has not ended."""

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="The same key and body give the same job.",
    ),
]

_steering = partial(
    router.post,
    status_code=202,
    response_model=JobAnswer,
    responses=documented(400, 401, 403, 404, 409, 422, 503, 507),
)
"""How a route is declared that asks for something to be done with a job."""


@router.post(
    "",
    status_code=202,
    response_model=JobAnswer,
    responses={
        200: {"model": ForecastAnswer, "description": "A dry run: what the job would take."},
        202: {
            "description": "The job, queued.",
            "headers": {
                "Location": {"schema": {"type": "string"}},
                "Idempotency-Replayed": {"schema": {"type": "string"}},
                "Slbi-Reused": {
                    "description": "true: an export that was there, or on its way.",
                    "schema": {"type": "string"},
                },
            },
        },
        **documented(400, 401, 403, 413, 422, 503, 507),
    },
)
def submit_job(
    spec: JobSpec,
    query: Annotated[SubmitJobQuery, Query()],
    owner: Owner,
    here: Here,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """Submit a job."""
    directories = here.settings.datasets
    if query.dry_run:
        found = forecast(
            here.database,
            here.catalogue,
            directories,
            artifacts=here.settings.artifacts,
            owner=owner,
            spec=spec,
        )
        return _json(ForecastAnswer.of(found).model_dump_json(), 200)
    submitted = submit(
        here.database,
        here.queue,
        here.catalogue,
        directories,
        artifacts=here.settings.artifacts,
        owner=owner,
        spec=spec,
        idempotency_key=idempotency_key,
        again=query.again,
    )
    headers = {"Location": f"/v1/jobs/{submitted.job.id}"}
    if submitted.replayed:
        headers["Idempotency-Replayed"] = "true"
    followed = FollowedJob(job=submitted.job, attempt=None)
    if submitted.reused:
        headers["Slbi-Reused"] = "true"
        followed = find(here.database, owner, submitted.job.id)
    answer = JobAnswer.of(followed)
    return _json(answer.model_dump_json(), 202, headers)


@router.get("", response_model=JobPage, responses=documented(400, 401, 403, 422, 503))
def list_jobs(query: Annotated[JobsQuery, Query()], owner: Owner, here: Here) -> Response:
    """List jobs, newest first."""
    found = page(
        here.database,
        owner,
        states=query.state,
        kinds=query.kind,
        label=query.label,
        sweep=query.sweep,
        before=position(query.cursor) if query.cursor else None,
        limit=query.limit,
    )
    cursor = cursor_of(found.last) if found.last else None
    following = None
    if cursor is not None:
        asked = query.model_dump(mode="json", exclude_defaults=True) | {"cursor": cursor}
        following = f"/v1/jobs?{urlencode(asked, doseq=True)}"
    answer = JobPage(
        items=[JobAnswer.of(job) for job in found.jobs], next=following, next_cursor=cursor
    )
    return _json(answer.model_dump_json(), 200)


@router.get(
    "/{job_id}",
    response_model=JobAnswer,
    responses={
        304: {"description": "As it was."},
        **documented(400, 401, 403, 404, 422, 503),
    },
)
def get_job(
    job_id: uuid.UUID,
    owner: Owner,
    here: Here,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return a job: its state, progress and links."""
    followed = find(here.database, owner, job_id)
    body = JobAnswer.of(followed).model_dump_json()
    return as_it_stands(body, if_none_match, ended=followed.job.state in FINAL_STATES)


@router.get("/{job_id}/attempts", responses=documented(400, 401, 403, 404, 422, 503))
def list_attempts(job_id: uuid.UUID, owner: Owner, here: Here) -> AttemptList:
    """List every attempt at a job, oldest first."""
    found = attempts(here.database, owner, job_id)
    return AttemptList(
        items=[AttemptAnswer.of(each, number) for number, each in enumerate(found, 1)]
    )


@_steering("/{job_id}/cancel")
def cancel_job(job_id: uuid.UUID, owner: Owner, here: Here) -> Response:
    """Cancel a job; one that runs ends a little later."""
    return _steered(cancel(here.database, owner, job_id))


@_steering("/{job_id}/pause")
def pause_job(job_id: uuid.UUID, owner: Owner, here: Here) -> Response:
    """Put a job aside; one that runs first keeps a checkpoint."""
    return _steered(pause(here.database, owner, job_id))


@_steering("/{job_id}/resume")
def resume_job(job_id: uuid.UUID, owner: Owner, here: Here) -> Response:
    """Put a paused job back in its place in the queue; it goes on from its last checkpoint."""
    return _steered(resume(here.database, here.queue, owner, job_id))


@_steering("/{job_id}/retry")
def retry_job(job_id: uuid.UUID, owner: Owner, here: Here) -> Response:
    """Queue a job that failed or was cancelled again; it goes on from its last checkpoint."""
    return _steered(retry(here.database, here.queue, owner, job_id))


def as_it_stands(body: str, if_none_match: str | None, *, ended: bool) -> Response:
    """Return JSON under an ETag of its own, 304 to whoever has it.

    Args:
        body: the JSON.
        if_none_match: what the client has.
        ended: whether it stays so; otherwise the answer says when to ask again.
    """
    etag = f'W/"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag}
    if not ended:
        headers["Retry-After"] = str(ASK_AGAIN_SECONDS)
    if matches(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return _json(body, 200, headers)


def matches(if_none_match: str | None, etag: str) -> bool:
    """Return whether If-None-Match holds an ETag, by weak comparison. Source: RFC 9110, 13.1.2."""
    if if_none_match is None:
        return False
    known = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in known or etag.removeprefix("W/") in known


def _steered(followed: FollowedJob) -> Response:
    return _json(JobAnswer.of(followed).model_dump_json(), 202)


def _json(body: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type=JSONResponse.media_type)
