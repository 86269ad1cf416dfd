"""Routes: start, list, follow and cancel sweeps."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query, Response
from pydantic import ValidationError
from starlette.responses import JSONResponse

from service.api.access import Owner
from service.api.answers.sweeps import (
    SweepAnswer,
    SweepDetailAnswer,
    SweepForecastAnswer,
    SweepPageAnswer,
)
from service.api.context import Here
from service.api.cursors import cursor_of, position
from service.api.jobs import IdempotencyKeyHeader, as_it_stands
from service.api.problems import documented, fields_of
from service.api.questions import SubmitQuery, SweepQuery, SweepsQuery
from service.errors import FieldError
from service.jobs.sweep_start import Draft, Place, foresee, pointed, refused, start
from service.jobs.sweeps import cancel, find, page
from service.spec.jobs import read_spec
from service.spec.sweeps import SweepSpec

SWEEPS = "/v1/sweeps"

router = APIRouter(prefix=SWEEPS, tags=["sweeps"])


@router.post(
    "",
    status_code=202,
    response_model=SweepDetailAnswer,
    responses={
        200: {"model": SweepForecastAnswer, "description": "A dry run: what it would take."},
        202: {
            "description": "The sweep, its jobs queued.",
            "headers": {
                "Location": {"schema": {"type": "string"}},
                "Idempotency-Replayed": {"schema": {"type": "string"}},
            },
        },
        **documented(400, 401, 403, 413, 422, 503, 507),
    },
)
def start_sweep(
    asked: SweepSpec,
    query: Annotated[SubmitQuery, Query()],
    owner: Owner,
    here: Here,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """Start a sweep: several jobs at once, which share a cap and a family."""
    drafts = _drafts(asked)
    place = Place(
        database=here.database,
        catalogue=here.catalogue,
        directories=here.settings.datasets,
        artifacts=here.settings.artifacts,
        owner=owner,
    )
    if query.dry_run:
        foreseen = foresee(place, asked, drafts)
        told = SweepForecastAnswer.of(foreseen, asked.max_training_macs)
        return _json(told.model_dump_json(), 200)
    sweep_id, replayed = start(
        place,
        here.queue,
        asked,
        drafts,
        idempotency_key=idempotency_key,
        heartbeat=timedelta(seconds=here.settings.heartbeat_seconds),
    )
    headers = {"Location": f"{SWEEPS}/{sweep_id}"}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return _json(_detail(here, owner, sweep_id, SweepQuery()).model_dump_json(), 202, headers)


@router.get("", response_model=SweepPageAnswer, responses=documented(400, 401, 403, 422, 503))
def list_sweeps(query: Annotated[SweepsQuery, Query()], owner: Owner, here: Here) -> Response:
    """List sweeps, newest first."""
    before = position(query.cursor) if query.cursor else None
    found = page(here.database, owner, before=before, limit=query.limit)
    cursor = cursor_of(found.last) if found.last else None
    following = None
    if cursor is not None:
        asked = query.model_dump(mode="json", exclude_defaults=True) | {"cursor": cursor}
        following = f"{SWEEPS}?{urlencode(asked)}"
    answer = SweepPageAnswer(
        items=[SweepAnswer.of(sweep, states) for sweep, states in found.sweeps],
        next=following,
        next_cursor=cursor,
    )
    return _json(answer.model_dump_json(), 200)


@router.get(
    "/{sweep_id}",
    response_model=SweepDetailAnswer,
    responses={
        304: {"description": "As it was."},
        **documented(400, 401, 403, 404, 422, 503),
    },
)
def get_sweep(
    sweep_id: uuid.UUID,
    query: Annotated[SweepQuery, Query()],
    owner: Owner,
    here: Here,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return a sweep: the states of its jobs, and the front of all their models."""
    answer = _detail(here, owner, sweep_id, query)
    return as_it_stands(answer.model_dump_json(), if_none_match, ended=answer.ended)


@router.post(
    "/{sweep_id}/cancel",
    status_code=202,
    response_model=SweepDetailAnswer,
    responses=documented(400, 401, 403, 404, 409, 422, 503, 507),
)
def cancel_sweep(sweep_id: uuid.UUID, owner: Owner, here: Here) -> Response:
    """Cancel the jobs of a sweep that have not ended."""
    cancel(here.database, owner, sweep_id)
    return _json(_detail(here, owner, sweep_id, SweepQuery()).model_dump_json(), 202)


def _drafts(asked: SweepSpec) -> Sequence[Draft]:
    """Return the jobs that a sweep asks for.

    Raises:
        InvalidRequestError: some are no specs; every mistake is named once.
    """
    drafts: list[Draft] = []
    errors: list[FieldError] = []
    for number, (settings, draft) in enumerate(asked.drafts()):
        try:
            drafts.append(Draft(settings=settings, spec=read_spec(draft)))
        except ValidationError as error:
            errors += pointed(asked, number, fields_of(error, draft))
    if errors:
        raise refused(errors)
    return drafts


def _detail(here: Here, owner: Owner, sweep_id: uuid.UUID, query: SweepQuery) -> SweepDetailAnswer:
    found = find(here.database, owner, sweep_id, query.budget, query.measures)
    return SweepDetailAnswer.following(found, front_only=query.front_only)


def _json(body: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type=JSONResponse.media_type)
