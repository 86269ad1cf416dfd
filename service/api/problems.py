"""Everything that goes wrong, as problem+json (RFC 9457)."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.api.answers.budgets import NearestAnswer
from service.errors import (
    FieldError,
    InvalidRequestError,
    MalformedRequestError,
    NotFoundError,
    ServiceError,
    StorageFullError,
    TooLargeError,
    UnavailableError,
)
from service.jobs.refusals import escaped
from service.spec.jobs import KIND_NAMES
from service.store.outage import is_away, is_full

_SUBJECT = re.compile(r"\w+ should ")
"""How pydantic begins to say what must hold: "Input should be …", "String should match …"."""

RETRY_SECONDS = 5
"""When a client may come back after 503."""

_log = structlog.get_logger(__name__)
_PLAIN: Mapping[int, type[ServiceError]] = {
    kind.status: kind for kind in (MalformedRequestError, NotFoundError, TooLargeError)
}


class ProblemField(BaseModel):
    """One thing that was wrong with a request."""

    pointer: str = Field(
        description="JSON pointer into the body, ?name or {name} of a parameter, or a header."
    )
    code: str = Field(description="Stable word for programs.")
    message: str = Field(description="What must hold, and what came.")


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="urn:slbi:problem: and the code.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="Path of the request.")
    code: str = Field(description="Stable word for programs.")
    errors: list[ProblemField]
    request_id: str
    request: dict[str, Any] | None = Field(
        None,
        description="The request that makes what is missing, or brings the nearest: method, "
        "path, body.",
    )
    nearest: NearestAnswer | None = Field(
        None, description="The model that comes nearest to a budget which none fits."
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer with problems of these statuses."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }


def problem(
    error: ServiceError, *, path: str, request_id: str, status: int | None = None
) -> Response:
    """Return what a client reads of an error."""
    status = error.status if status is None else status
    code, title = error.code, error.title
    if status != error.status:
        code, title = HTTPStatus(status).name.lower(), HTTPStatus(status).phrase
    body = {
        "type": f"urn:slbi:problem:{code}",
        "title": title,
        "status": status,
        "detail": error.detail,
        "instance": path,
        "code": code,
        "errors": [
            {"pointer": each.pointer, "code": each.code, "message": each.message}
            for each in error.errors
        ],
        "request_id": request_id,
    }
    if error.request is not None:
        body["request"] = dict(error.request)
    if error.nearest is not None:
        body["nearest"] = dict(error.nearest)
    # ASCII only: what came may hold halves of surrogate pairs, which UTF-8 cannot.
    return Response(json.dumps(body), status, error.headers, "application/problem+json")


def understood(error: Exception) -> ServiceError:
    """Return what a client is told of any error; what is unexpected is logged, never shown."""
    if isinstance(error, ServiceError):
        return error
    if is_full(error):
        return StorageFullError("There must be room to store this, the disk is full.")
    if is_away(error):
        _log.warning("database_unreachable", error=str(error))
        headers = {"Retry-After": str(RETRY_SECONDS)}
        return UnavailableError("The database must answer, it does not.", headers=headers)
    _log.error("unexpected_error", exc_info=error)
    return ServiceError("Something unexpected went wrong; the log has more under the request id.")


async def on_service_error(request: Request, error: Exception) -> Response:
    """Answer what routes raise for clients."""
    return problem(understood(error), path=request.url.path, request_id=_request_id(request))


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the framework raises: no such route, no such method, a body out of bounds."""
    if not isinstance(error, HTTPException):
        raise TypeError(f"error must be an HTTPException, got {type(error).__name__}")
    told = {
        400: "The body must be JSON in UTF-8, not nested too deeply, without overlong numbers.",
        404: f"There is nothing at {request.url.path}.",
        405: f"{request.url.path} must be called with another method, got {request.method}.",
    }.get(error.status_code, f"{error.detail}.")
    kind = _PLAIN.get(error.status_code, ServiceError)
    return problem(
        kind(told, headers=dict(error.headers or {})),
        path=request.url.path,
        request_id=_request_id(request),
        status=error.status_code,
    )


async def on_validation_error(request: Request, error: Exception) -> Response:
    """Answer a request whose parts are not of the form that the route declares."""
    if not isinstance(error, RequestValidationError):
        raise TypeError(f"error must be a RequestValidationError, got {type(error).__name__}")
    return problem(_refusal(error), path=request.url.path, request_id=_request_id(request))


def fields_of(error: ValidationError, body: Mapping[str, Any]) -> Sequence[FieldError]:
    """Return what is wrong with a part of a body that was looked at by itself."""
    return _merged(
        [_field({**each, "loc": ("body", *each["loc"])}, body) for each in error.errors()]
    )


def _refusal(error: RequestValidationError) -> ServiceError:
    for each in error.errors():
        if each["type"] == "json_invalid":
            return MalformedRequestError(f"The body must be JSON: {each['ctx']['error']}.")
        if tuple(each["loc"]) == ("body",) and not isinstance(error.body, dict):
            return MalformedRequestError(
                "The body must be a JSON object, sent with Content-Type: application/json."
            )
    fields = _merged([_field(each, error.body) for each in error.errors()])
    return InvalidRequestError(" ".join(f"{each.message}." for each in fields), fields)


def _field(error: Mapping[str, Any], body: object) -> FieldError:
    place, *path = error["loc"]
    if error["type"] == "union_tag_invalid" and isinstance(body, Mapping):  # the body's own union
        message = f"kind must be one of {', '.join(KIND_NAMES)}, got {_short(body.get('kind'))}"
        return FieldError(pointer="/kind", code="unknown_kind", message=message)
    name = ".".join(str(part) for part in path)
    if place == "body":
        parts = _body_path(path, body, keep_last=error["type"] == "missing")
        pointer = "".join(f"/{escaped(part)}" for part in parts)
        name = ".".join(parts) or "the body"
    elif place == "path":
        pointer = f"{{{name}}}"
    else:
        pointer = f"?{name}" if place == "query" else name
    told = str(error["msg"]).removeprefix("Value error, ")
    subject = _SUBJECT.match(told)
    expected = told[subject.end() :] if subject else f"be {told}"
    came = error.get("input")
    if error["type"] == "extra_forbidden":
        message = f"{name} must be left out: there is no such field"
    elif error["type"] == "missing":
        message = f"{name} must be given"
    elif error["type"] == "value_error":
        message = told  # a sentence of our own
    else:
        said = "" if isinstance(came, dict | list) else f", got {_short(came)}"
        message = f"{name} must {expected}{said}"
    return FieldError(pointer=pointer, code=error["type"], message=message)


def _body_path(path: Sequence[str | int], body: object, *, keep_last: bool) -> list[str]:
    """Return the path without what pydantic adds to tell the branches of a union apart."""
    kept: list[str] = []
    place = body
    for position, part in enumerate(path):
        if _holds(place, part):
            place = place[part]  # type: ignore[index]
        elif not (keep_last and position == len(path) - 1):
            continue
        kept.append(str(part))
    return kept


def _holds(place: object, part: str | int) -> bool:
    """Return whether a part of a path leads on from somewhere in a body."""
    if isinstance(place, list):
        return isinstance(part, int) and part < len(place)
    return isinstance(place, Mapping) and part in place


def _merged(fields: Sequence[FieldError]) -> list[FieldError]:
    """Return one error a pointer: a value that fits no branch of a union fails once in each.

    Where a branch fails deeper inside, the value was meant for it, and the others say nothing.
    """
    merged: dict[str, FieldError] = {}
    for each in fields:
        if any(other.pointer.startswith(f"{each.pointer}/") for other in fields):
            continue
        first = merged.setdefault(each.pointer, each)
        if first is not each:
            message = f"{first.message}; or {each.message}"
            merged[each.pointer] = replace(first, message=message)
    return list(merged.values())


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _request_id(request: Request) -> str:
    return str(request.scope["state"]["request_id"])
