"""What went wrong with a call, as the caller sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from service.errors import FieldError


class ClientError(Exception):
    """A call that did not bring what it was made for."""


class UnreachableError(ClientError):
    """The service gave no answer, or said until the last try that it cannot."""


class DamagedError(ClientError):
    """A file came whole and is not the one that the service announced."""


@dataclass(eq=False)
class Problem(ClientError):  # noqa: N818 - the name that RFC 9457 gives it
    """The service answered with problem+json (RFC 9457)."""

    status: int
    code: str
    title: str
    detail: str
    errors: Sequence[FieldError] = field(default=())
    request_id: str | None = None
    retry_after: str | None = None
    """The header of this name: seconds, or a date."""
    request: Mapping[str, Any] | None = None
    """What makes what is missing, or brings the nearest: method, path and body."""
    nearest: Mapping[str, Any] | None = None
    """The model that comes nearest to a budget which none fits."""

    def __str__(self) -> str:
        lines = [self.detail or self.title]
        lines += [f"  {error.pointer}: {error.message}" for error in self.errors]
        return "\n".join(lines)


def problem_of(response: httpx.Response) -> Problem:
    """Return what a refused call says; its body has been read.

    An answer that is not problem+json, from a proxy for example, gives a `Problem` of its status.
    """
    try:
        body: Any = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    phrase = response.reason_phrase or "error"
    return Problem(
        status=response.status_code,
        code=str(body.get("code", "unknown")),
        title=str(body.get("title", phrase)),
        detail=str(
            body.get("detail") or f"{response.url} answered {response.status_code} {phrase}."
        ),
        errors=tuple(
            FieldError(
                pointer=str(error.get("pointer", "")),
                code=str(error.get("code", "")),
                message=str(error.get("message", "")),
            )
            for error in body.get("errors") or ()
        ),
        request_id=body.get("request_id") or response.headers.get("X-Request-Id"),
        retry_after=response.headers.get("Retry-After"),
        request=body.get("request"),
        nearest=body.get("nearest"),
    )
