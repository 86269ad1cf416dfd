"""Routes: send a file, list what was sent, remove it."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from service.api.access import Owner
from service.api.answers.uploads import UploadAnswer, UploadPageAnswer
from service.api.context import Here
from service.api.cursors import cursor_of, position
from service.api.problems import documented
from service.api.questions import UploadQuery, UploadsQuery
from service.errors import MalformedRequestError, UnsupportedMediaTypeError
from service.store.tables import Upload
from service.uploads import Incoming, find, page, remove

UPLOADS = "/v1/uploads"

router = APIRouter(prefix=UPLOADS, tags=["uploads"])

_BYTES = "application/octet-stream"
_PIECE = 2**20  # bytes written at once: the server hands on 64 KiB, each of which would hop threads
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file: safetensors.",
        "content": {_BYTES: {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "",
    status_code=201,
    response_model=UploadAnswer,
    openapi_extra=_BODY,
    responses={
        201: {
            "description": "The upload, kept.",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **documented(400, 401, 403, 413, 415, 422, 503, 507),
    },
)
async def upload_file(
    request: Request, query: Annotated[UploadQuery, Query()], owner: Owner, here: Here
) -> Response:
    """Send a file; the body is its content."""
    _check_type(request)
    incoming = await run_in_threadpool(Incoming, here.settings.artifacts)
    try:
        async for piece in _pieces(request):
            await run_in_threadpool(incoming.write, piece)
        _check_length(request, incoming.bytes)
        days = timedelta(days=here.settings.upload_days)
        row: Upload = await run_in_threadpool(
            incoming.keep, here.database, owner=owner, name=query.name, keep=days
        )
    finally:
        incoming.close()
    body = UploadAnswer.of(row).model_dump_json()
    headers = {"Location": f"{UPLOADS}/{row.id}"}
    return Response(body, 201, headers, media_type=JSONResponse.media_type)


@router.get("", responses=documented(400, 401, 403, 422, 503))
def list_uploads(
    query: Annotated[UploadsQuery, Query()], owner: Owner, here: Here
) -> UploadPageAnswer:
    """List the uploads that are kept, newest first."""
    before = position(query.cursor) if query.cursor else None
    found = page(here.database, owner, before=before, limit=query.limit)
    cursor = cursor_of(found.last) if found.last else None
    following = None
    if cursor is not None:
        asked = query.model_dump(mode="json", exclude_defaults=True) | {"cursor": cursor}
        following = f"{UPLOADS}?{urlencode(asked)}"
    items = [UploadAnswer.of(row) for row in found.uploads]
    return UploadPageAnswer(items=items, next=following, next_cursor=cursor)


@router.get("/{upload_id}", responses=documented(400, 401, 403, 404, 410, 422, 503))
def get_upload(upload_id: uuid.UUID, owner: Owner, here: Here) -> UploadAnswer:
    """Return what is known of an upload."""
    return UploadAnswer.of(find(here.database, owner, upload_id))


@router.delete(
    "/{upload_id}",
    status_code=204,
    response_class=Response,
    responses=documented(400, 401, 403, 404, 409, 422, 503, 507),
)
def delete_upload(upload_id: uuid.UUID, owner: Owner, here: Here) -> None:
    """Remove an upload, its file included."""
    remove(here.database, here.settings.artifacts, owner, upload_id)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """Give the body in pieces of at least `_PIECE` bytes, but for the last.

    Raises:
        MalformedRequestError: the client went away.
    """
    gathered = bytearray()
    try:
        async for chunk in request.stream():
            gathered += chunk
            if len(gathered) >= _PIECE:
                yield bytes(gathered)
                gathered.clear()
    except ClientDisconnect as error:  # nobody reads the answer, and nothing is wrong here
        raise MalformedRequestError("The body must come whole, the client went away.") from error
    yield bytes(gathered)


def _check_type(request: Request) -> None:
    """Refuse a form, whose body is not the file alone."""
    sent = request.headers.get("content-type", _BYTES)
    if sent.partition(";")[0].strip().lower() != _BYTES:
        raise UnsupportedMediaTypeError(
            f"The body must be the file itself, sent with Content-Type: {_BYTES}, got {sent!r}."
        )


def _check_length(request: Request, came: int) -> None:
    announced = request.headers.get("content-length")
    if announced is not None and announced != str(came):
        raise MalformedRequestError(
            f"The body must have the {announced} bytes that Content-Length says, got {came}."
        )
