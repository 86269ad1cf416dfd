"""Routes: the family of a job, and its files."""

import re
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import FileResponse

from service.api.access import Owner
from service.api.answers.results import ArtifactAnswer, ArtifactList, ModelList
from service.api.context import Here
from service.api.jobs import as_it_stands, matches
from service.api.problems import documented
from service.api.questions import CheckpointQuery, ModelsQuery
from service.errors import RangeNotSatisfiableError
from service.jobs.budgets import asked_from
from service.jobs.exports import export_of
from service.jobs.results import artifact, artifacts, best, family, file_of
from service.settings import Settings
from service.store.tables import Artifact

router = APIRouter(prefix="/v1", tags=["results"])

_ONE_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)
_BYTES = "application/octet-stream"
_TYPES: Mapping[str, str] = {
    "png": "image/png",
    "json": "application/json",
    "csv": "text/csv",
    "md": "text/markdown",
    "zip": "application/zip",
}
"""Format -> its media type; of any other it is `_BYTES`."""

_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in (_BYTES, *_TYPES.values())
        },
    },
    206: {"description": "The asked range of the file."},
    304: {"description": "The file is the one that the client has."},
}
_CHOSEN_FILE: dict[int | str, dict[str, Any]] = {
    **_FILE,
    200: {
        **_FILE[200],
        "headers": {
            "Link": {
                "description": "describedby: the list of models that says why it is this one.",
                "schema": {"type": "string"},
            },
            "Slbi-Model": {"description": "Its id.", "schema": {"type": "string"}},
            "Slbi-Export": {
                "description": "Job that made the file, where that is an export.",
                "schema": {"type": "string"},
            },
        },
    },
}
_IfNoneMatch = Annotated[str | None, Header()]


@router.get(
    "/jobs/{job_id}/models",
    response_model=ModelList,
    responses={
        304: {"description": "As it was."},
        **documented(400, 401, 403, 404, 422, 503),
    },
)
def list_models(
    job_id: uuid.UUID,
    query: Annotated[ModelsQuery, Query()],
    owner: Owner,
    here: Here,
    if_none_match: _IfNoneMatch = None,
) -> Response:
    """List the models of a job that fit, the cheapest first, and say which one to take and why."""
    found = family(here.database, owner, job_id, query.budget, query.measures)
    body = ModelList.of(found, front_only=query.front_only).model_dump_json()
    return as_it_stands(body, if_none_match, ended=found.ended)


@router.get(
    "/jobs/{job_id}/checkpoint",
    response_class=Response,
    responses={**_CHOSEN_FILE, **documented(400, 401, 403, 404, 410, 416, 422, 503)},
)
def get_checkpoint(
    *,
    job_id: uuid.UUID,
    query: Annotated[CheckpointQuery, Query()],
    request: Request,
    owner: Owner,
    here: Here,
    if_none_match: _IfNoneMatch = None,
) -> Response:
    """Download the most accurate model that fits; `Link` leads to why it is this one."""
    member = best(here.database, owner, job_id, query.budget, query.format)
    model, record = member.model, member.artifact
    if query.format != "safetensors":
        directory = here.settings.artifacts
        record = export_of(here.database, directory, owner, member, query.format)
    name = f"{model.kind}-{model.macs}-macs.{record.format}"
    why = asked_from(job_id, "models", query.budget.asked)
    about = {"Link": f'<{why}>; rel="describedby"', "Slbi-Model": str(model.id)}
    if record is not member.artifact:
        about["Slbi-Export"] = str(record.job_id)
    return _file(
        request,
        record,
        here.settings,
        name=name,
        if_none_match=if_none_match,
        about=about,
    )


@router.get("/jobs/{job_id}/artifacts", responses=documented(400, 401, 403, 404, 422, 503))
def list_artifacts(job_id: uuid.UUID, owner: Owner, here: Here) -> ArtifactList:
    """List the files of a job: the checkpoints of its models, and what lies beside them."""
    found = artifacts(here.database, owner, job_id)
    return ArtifactList(items=[ArtifactAnswer.of(each) for each in found])


@router.get(
    "/artifacts/{artifact_id}/content",
    response_class=Response,
    responses={**_FILE, **documented(400, 401, 403, 404, 410, 416, 422, 503)},
)
def get_content(
    artifact_id: uuid.UUID,
    request: Request,
    owner: Owner,
    here: Here,
    if_none_match: _IfNoneMatch = None,
) -> Response:
    """Download a file."""
    record = artifact(here.database, owner, artifact_id)
    name = record.title or f"{record.id}.{record.format}"
    return _file(request, record, here.settings, name=name, if_none_match=if_none_match)


def _file(
    request: Request,
    record: Artifact,
    settings: Settings,
    *,
    name: str,
    if_none_match: str | None,
    about: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    """Return a file, or the part of it that is asked for; `about` are headers beside its own."""
    place = file_of(record, settings.artifacts)
    etag = f'"{record.sha256}"'
    content = f"/v1/artifacts/{record.id}/content"
    headers = {"ETag": etag, "Content-Location": content, **about}
    if matches(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    _settle_range(request, record.bytes, etag)
    media_type = _TYPES.get(record.format, _BYTES)
    return FileResponse(place, headers=headers, media_type=media_type, filename=name)


def _settle_range(request: Request, size: int, etag: str) -> None:
    """Take a Range that does not apply out of the request, in place. Source: RFC 9110, 14.2.

    Raises:
        RangeNotSatisfiableError: the range begins behind the end.
    """
    asked = request.headers.get("range")
    if asked is None:
        return
    match = _ONE_RANGE.fullmatch(asked.strip())
    first, last = match.groups() if match else ("", "")
    applies = (first or last) and not (first and last and int(last) < int(first))
    if not applies or request.headers.get("if-range", etag) != etag:
        # Several ranges, another unit, no range at all, or of a file that has changed: all of it.
        kept = [(name, value) for name, value in request.scope["headers"] if name != b"range"]
        request.scope["headers"] = kept
    elif (int(first) >= size) if first else int(last) == 0:
        told = f"The range must begin before byte {size}, got {asked}."
        raise RangeNotSatisfiableError(told, headers={"Content-Range": f"bytes */{size}"})
