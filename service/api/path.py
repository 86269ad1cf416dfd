"""Route: the structure path of a job, as curves or with every bit."""

import uuid
from math import nan
from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.api.access import Owner
from service.api.answers.results import PathAnswer
from service.api.context import Here
from service.api.problems import documented
from service.api.questions import PathQuery
from service.jobs.results import path
from service.npz import Array, bits, floats, integers, npz, texts
from service.store.path import StoredPath

router = APIRouter(prefix="/v1/jobs", tags=["results"])

_WHOLE = ("step", "epoch", "round", "params", "macs")
_REAL = ("loss", "train_accuracy", "validation_accuracy", "learning_rate", "seconds")


@router.get(
    "/{job_id}/path",
    response_model=PathAnswer,
    responses={
        200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}},
        **documented(400, 401, 403, 404, 422, 503),
    },
)
def get_path(
    job_id: uuid.UUID, query: Annotated[PathQuery, Query()], owner: Owner, here: Here
) -> Response:
    """Return which filters were in the support when, and what was widened when and why."""
    found = path(
        here.database, owner, job_id, layers=query.layer, first=query.first, last=query.last
    )
    if query.format == "npz":
        disposition = f'attachment; filename="path-{job_id}.npz"'
        return Response(
            npz(_arrays(found)),
            media_type="application/zip",
            headers={"Content-Disposition": disposition},
        )
    return Response(PathAnswer.of(found).model_dump_json(), media_type="application/json")


def _arrays(found: StoredPath) -> dict[str, Array]:
    """Return every number of a path. Source of the names: docs/api.md, "The path"."""
    arrays: dict[str, Array] = {
        "layers": texts([layer.name for layer in found.layers]),
        "structure": texts([layer.structure for layer in found.layers]),
        "phase": texts([step.phase for step in found.steps]),
    }
    for name in _WHOLE:
        arrays[name] = integers([getattr(step, name) for step in found.steps])
    for name in _REAL:
        arrays[name] = floats([getattr(step, name) for step in found.steps])
    known = [step.support_accuracy for step in found.steps]
    arrays["support_accuracy"] = floats([nan if each is None else each for each in known])
    for layer in found.layers:
        rows = found.support[layer.layer]
        filters = [row.n_filters for row in rows]
        arrays[f"n_filters/{layer.name}"] = integers(filters)
        arrays[f"n_active/{layer.name}"] = integers([row.n_active for row in rows])
        if layer.structure == "filter":  # of single weights there are only the counts
            arrays[f"support/{layer.name}"] = bits([row.bits for row in rows], filters)
    for name in ("step", "layer", "round", "before", "after"):
        arrays[f"growth/{name}"] = integers([getattr(row, name) for row in found.growth])
    for name in ("fill", "threshold"):
        arrays[f"growth/{name}"] = floats([getattr(row, name) for row in found.growth])
    return arrays
