"""What a client may read when something is refused: one class a situation, each with its status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldError:
    """One thing that was wrong with a request."""

    pointer: str
    """JSON pointer into the body, `?name` of a parameter, `{name}` in the path, or a header."""
    code: str
    """Stable word for programs, e.g. `unknown_backbone`."""
    message: str
    """What must hold, and what came."""


@dataclass(eq=False)
class ServiceError(Exception):
    """Something a client is told, as problem+json (RFC 9457).

    Args:
        detail: What must hold, and what came.
        errors: The single fields, if there are any.
        headers: Of the answer.
        request: What to send instead, or before: method, path and body.
        nearest: The model that comes nearest to a budget which none fits.
    """

    detail: str
    errors: Sequence[FieldError] = field(default=())
    headers: dict[str, str] = field(default_factory=dict)
    request: Mapping[str, Any] | None = None
    nearest: Mapping[str, Any] | None = None

    status = 500
    code = "internal"
    title = "Something went wrong here"

    def __str__(self) -> str:
        return self.detail


class InvalidRequestError(ServiceError):
    """The request was understood and cannot be done as asked."""

    status = 422
    code = "invalid"
    title = "The request is not valid"


class MalformedRequestError(ServiceError):
    """The request could not be read."""

    status = 400
    code = "malformed"
    title = "The request could not be read"


class UnauthenticatedError(ServiceError):
    """No key, or one that is unknown or revoked."""

    status = 401
    code = "unauthenticated"
    title = "A valid key is required"


class ForbiddenError(ServiceError):
    """Whoever asks is known, or needs not be, and still may not."""

    status = 403
    code = "forbidden"
    title = "Not allowed"


class NotFoundError(ServiceError):
    """There is no such thing, or not for this key."""

    status = 404
    code = "not_found"
    title = "Not found"


class NotExportedError(NotFoundError):
    """There is the model, and no file of it in this format yet."""

    code = "not_exported"
    title = "Not exported yet"


class ConflictError(ServiceError):
    """The thing is in a state that does not allow this."""

    status = 409
    code = "conflict"
    title = "Not possible in this state"


class GoneError(ServiceError):
    """The thing was there and is not kept any more."""

    status = 410
    code = "gone"
    title = "No longer kept"


class TooLargeError(ServiceError):
    """The body is larger than what is taken."""

    status = 413
    code = "too_large"
    title = "The body is too large"


class UnsupportedMediaTypeError(ServiceError):
    """The body is of a type that is not taken here."""

    status = 415
    code = "unsupported_media_type"
    title = "The body is of another type"


class RangeNotSatisfiableError(ServiceError):
    """The asked range begins behind the end."""

    status = 416
    code = "range_not_satisfiable"
    title = "There are no such bytes"


class UnavailableError(ServiceError):
    """Something the service needs does not answer; trying again later is right."""

    status = 503
    code = "unavailable"
    title = "Not available at the moment"


class StorageFullError(ServiceError):
    """There is no room to store what was asked."""

    status = 507
    code = "storage_full"
    title = "There is no room left"


class FenceLostError(Exception):
    """Another attempt holds the job now: whoever sees this must stop writing at once."""
