"""Routes: what can be asked for, and who does the work."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from fastapi import APIRouter

from service.api.access import Owner
from service.api.answers.offers import (
    BackboneAnswer,
    BackboneList,
    DatasetAnswer,
    DatasetList,
    WorkerAnswer,
    WorkerList,
)
from service.api.context import Here
from service.api.problems import documented
from service.datasets import list_datasets
from service.spec.jobs import spec_schema
from service.store.tables import Worker
from service.store.workers import alive, workers_since

router = APIRouter(prefix="/v1", tags=["offers"])

REMEMBERED = timedelta(days=1)
"""How long a worker that is not heard of any more is listed."""


@router.get("/backbones", responses=documented(401, 403, 503))
def list_backbones(here: Here) -> BackboneList:
    """List the networks that can be grown."""
    items = [
        BackboneAnswer(
            name=backbone.name,
            groups=list(backbone.standard_widths),
            standard_widths=dict(backbone.standard_widths),
            smallest_size=backbone.smallest,
            largest_size=backbone.largest,
            only_sizes=None if backbone.only is None else list(backbone.only),
        )
        for backbone in here.catalogue.backbones.values()
    ]
    return BackboneList(items=items, settings=spec_schema())


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


def _state(
    worker: Worker, now: datetime, lease: timedelta
) -> Literal["alive", "silent", "stopped"]:
    if worker.stopped_at is not None:
        return "stopped"
    return "alive" if alive(worker, now, lease) else "silent"
