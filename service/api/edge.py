"""What surrounds every request: its id, its counting, its headers, and a catch for every error."""

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.metrics import Metrics
from service.api.problems import problem, understood
from service.errors import TooLargeError

REQUEST_ID = "X-Request-Id"
"""Header under which a request's id comes and goes."""

_USABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}


class Edge:
    """The outermost room: gives each request an id and each answer its headers; lets none fail.

    Args:
        app: what is inside.
        metrics: where answers are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        asked = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = asked if _USABLE_ID.fullmatch(asked) else secrets.token_hex(16)
        scope.setdefault("state", {})["request_id"] = request_id
        status: int | None = None

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                seconds = time.perf_counter() - began
                self._metrics.answered(
                    method=_method(scope), route=_route(scope), status=status, seconds=seconds
                )
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, sending)
            except Exception as error:
                told = understood(error)
                if status is not None:
                    raise  # half an answer is out: closing the connection is all that is left
                answer = problem(told, path=scope["path"], request_id=request_id)
                await answer(scope, receive, sending)


class BodyCap:
    """Refuses bodies that are larger than allowed, announced or not.

    Args:
        app: what is inside.
        limit: bytes.
        others: method and path -> bytes, where the limit is another one.
    """

    def __init__(
        self, app: ASGIApp, limit: int, others: Mapping[tuple[str, str], int] | None = None
    ) -> None:
        self._app = app
        self._limit = limit
        self._others = others or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._others.get((scope["method"], scope["path"]), self._limit)
        told = f"The body must have at most {limit} bytes"
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise TooLargeError(f"{told}, got {announced}.")
        came = 0

        async def receiving() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > limit:
                # FastAPI lets only this kind through while it reads a body.
                raise HTTPException(TooLargeError.status, f"{told}, got more")
            return message

        await self._app(scope, receiving, send)


def _method(scope: Scope) -> str:
    known = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    return scope["method"] if scope["method"] in known else "other"


def _route(scope: Scope) -> str:
    """Return the route's own path: ids in it would make a series of every job."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "unknown"))
