"""Routes: what can be asked for, and who does the work."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel

from service.api.access import Owner
from service.api.answers.offers import (
    BackboneAnswer,
    BackboneEntry,
    BackboneList,
    DatasetAnswer,
    DatasetList,
    WorkerAnswer,
    WorkerList,
)
from service.api.context import Here
from service.api.jobs import matches
from service.api.problems import documented
from service.datasets import list_datasets
from service.errors import NotFoundError
from service.spec.jobs import spec_schema
from service.store.tables import Worker
from service.store.workers import alive, workers_since

router = APIRouter(prefix="/v1", tags=["offers"])

_OR_AS_IT_WAS: dict[int | str, dict[str, Any]] = {304: {"description": "As it was."}}

REMEMBERED = timedelta(days=1)
"""How long a worker that is not heard of any more is listed."""


@router.get(
    "/backbones", response_model=BackboneList, responses=_OR_AS_IT_WAS | documented(401, 403, 503)
)
def list_backbones(here: Here, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """List the networks that can be grown, in short."""
    items = [BackboneEntry.of(backbone) for backbone in here.catalogue.backbones.values()]
    return _tagged(BackboneList(items=items, settings=spec_schema()), if_none_match)


@router.get(
    "/backbones/{name}",
    response_model=BackboneAnswer,
    responses=_OR_AS_IT_WAS | documented(401, 403, 404, 503),
)
def show_backbone(
    here: Here, name: str, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Tell everything about one network: its groups of filters and its layers."""
    backbone = here.catalogue.backbones.get(name)
    if backbone is None:
        raise NotFoundError(f"No backbone is called {name!r}.")
    return _tagged(BackboneAnswer.of(backbone), if_none_match)


@router.get("/datasets", responses=documented(401, 403, 503))
def get_datasets(here: Here) -> DatasetList:
    """List the data sets, those that are present and those that are known."""
    found = list_datasets(here.catalogue, here.settings.datasets)
    return DatasetList(
        items=[DatasetAnswer.model_validate(each, from_attributes=True) for each in found]
    )


@router.get("/workers", responses=documented(401, 403, 503))
def list_workers(owner: Owner, here: Here) -> WorkerList:
    """List the workers: when each was last heard of, and what it works on."""
    now = datetime.now(UTC)
    lease = timedelta(seconds=here.settings.lease_seconds)
    with here.database.reading() as session:
        items = [
            WorkerAnswer(
                id=seen.worker.id,
                host=seen.worker.host,
                device=seen.worker.device,
                state=_state(seen.worker, now, lease),
                started_at=seen.worker.started_at,
                heartbeat_at=seen.worker.heartbeat_at,
                job_id=seen.own_job.id if seen.own_job else None,
                label=seen.own_job.label if seen.own_job else None,
                attempt=seen.attempt,
            )
            for seen in workers_since(session, owner, now - REMEMBERED)
        ]
    return WorkerList(items=items)


def _tagged(answer: BaseModel, if_none_match: str | None) -> Response:
    """Return an answer that whoever has it already need not be sent again."""
    body = answer.model_dump_json()
    headers = {"ETag": f'W/"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'}
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _state(
    worker: Worker, now: datetime, lease: timedelta
) -> Literal["alive", "silent", "stopped"]:
    if worker.stopped_at is not None:
        return "stopped"
    return "alive" if alive(worker, now, lease) else "silent"
