"""Route: a job's events, as they happen or as a page."""

import json
import uuid
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

import anyio
import structlog
from fastapi import APIRouter, Header, Query, Response
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from service.api.access import Owner
from service.api.answers.jobs import EventAnswer, EventPage
from service.api.context import Context, Here
from service.api.problems import documented
from service.api.questions import EventsQuery
from service.contract import LARGEST
from service.jobs.follow import History, history
from service.keys import still_welcome
from service.store.outage import is_away

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

POLL_SECONDS = 0.5
"""How often a stream looks for events."""

KEEPALIVE_SECONDS = 15.0
"""How long a stream is silent at most. Source: WHATWG HTML, "Server-sent events", 9.2.7."""

_PAGE = 200

_log = structlog.get_logger(__name__)


@router.get(
    "/{job_id}/events",
    response_model=EventPage,
    responses={
        200: {
            "description": "A stream; JSON if `after` or `limit` is given or only JSON accepted.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The job has ended and the stream was read to its end."},
        **documented(400, 401, 403, 404, 422, 503),
    },
)
def get_events(
    *,
    job_id: uuid.UUID,
    query: Annotated[EventsQuery, Query()],
    owner: Owner,
    here: Here,
    accept: Annotated[str, Header()] = "*/*",
    last_event_id: Annotated[int, Header(ge=0, le=LARGEST)] = 0,
) -> Response:
    """Follow what happens to a job."""
    asked_for_page = query.after is not None or query.limit is not None
    only_json = "application/json" in accept and "text/event-stream" not in accept
    after = last_event_id if query.after is None else query.after
    found = history(here.database, owner, job_id, after=after, limit=query.limit or _PAGE)
    if asked_for_page or only_json:
        items = [EventAnswer.of(event) for event in found.events]
        page = EventPage(
            items=items, next_after=items[-1].id if items else after, ended=found.ended
        )
        return Response(page.model_dump_json(), media_type="application/json")
    if found.ended and not found.events:
        return Response(status_code=204)  # an EventSource of a browser would come back for ever
    stream = _stream(here, owner, job_id, found, after)
    return EventSourceResponse(stream, headers={"X-Accel-Buffering": "no"})


async def _stream(
    here: Context, owner: uuid.UUID, job_id: uuid.UUID, found: History, after: int
) -> AsyncIterator[bytes]:
    """Give the events behind `after`, of which the first were found already, until the end.

    The end is the job's, the server's, that of the key that asks, or an outage of the database; a
    client goes on after the server's and an outage with Last-Event-ID.
    """
    silent_s = 0.0
    while True:
        for event in found.events:
            after, silent_s = event.id, 0.0
            data = {"at": event.at.isoformat(), "attempt": event.fence, **event.data}
            yield format_sse_event(data_str=json.dumps(data), event=event.type, id=str(event.id))
        if found.ended or here.stopping.is_set():
            return
        if len(found.events) < _PAGE:
            await anyio.sleep(POLL_SECONDS)
            silent_s += POLL_SECONDS
        if silent_s >= KEEPALIVE_SECONDS:
            silent_s = 0.0
            yield KEEPALIVE_COMMENT
        ask = partial(history, here.database, owner, job_id, after=after, limit=_PAGE)
        try:
            if not await run_in_threadpool(still_welcome, here.database, owner):
                return
            found = await run_in_threadpool(ask)
        except SQLAlchemyError as error:
            if not is_away(error):
                raise
            _log.warning("stream_broken_off", job=str(job_id), error=str(error))
            return
