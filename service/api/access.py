"""Who asks: the key of a request, or nobody's, which only a loopback address accepts."""

import ipaddress
import uuid
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.contract import LOCAL_OWNER
from service.errors import ForbiddenError, UnauthenticatedError
from service.keys import recognise
from service.settings import Settings
from service.store.database import Database

OPEN_PATHS = frozenset({"/healthz"})
"""What anybody may ask, so that a balancer needs no key."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="slbi"'}


class Access:
    """Finds out whose request this is, before anything of it is read.

    Args:
        app: what is inside.
        database: where the keys are.
        settings: the address that is served.
    """

    def __init__(self, app: ASGIApp, database: Database, settings: Settings) -> None:
        self._app = app
        self._database = database
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            UnauthenticatedError: a key is needed and none that is active came.
            ForbiddenError: a web page of another place is behind the request.
        """
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            headers = Headers(scope=scope)
            _refuse_other_origins(scope["method"], headers)
            scope["state"]["owner"] = await self._owner(headers)
        await self._app(scope, receive, send)

    async def _owner(self, headers: Headers) -> uuid.UUID:
        given = headers.get("authorization")
        if given is not None:
            scheme, _, secret = given.partition(" ")
            if scheme.lower() != "bearer" or not secret.strip():
                told = "Authorization must be 'Bearer' and a key, got something else."
                raise UnauthenticatedError(told, headers=_CHALLENGE)
            try:
                return await run_in_threadpool(
                    recognise, self._database, secret.strip(), datetime.now(UTC)
                )
            except UnauthenticatedError as error:
                error.headers.update(_CHALLENGE)
                raise
        if not self._settings.loopback:
            told = "A key must be sent as 'Authorization: Bearer KEY', got none."
            raise UnauthenticatedError(told, headers=_CHALLENGE)
        # A page elsewhere can point a name of its own at this machine; its name gives it away.
        host = headers.get("host", "")
        if not _is_loopback(host):
            told = (
                f"Without a key the Host must be a loopback name such as localhost, got {host!r}."
            )
            raise ForbiddenError(told)
        return LOCAL_OWNER


def owner(request: Request) -> uuid.UUID:
    """Return whose request this is."""
    found: uuid.UUID = request.scope["state"]["owner"]
    return found


Owner = Annotated[uuid.UUID, Depends(owner)]
"""A route's parameter: whose request this is."""


def _refuse_other_origins(method: str, headers: Headers) -> None:
    """Refuse a change that a page of another origin asks for."""
    origin = headers.get("origin")
    if method in _SAFE_METHODS or origin is None:
        return
    _, _, place = origin.partition("://")
    if place != headers.get("host", ""):
        raise ForbiddenError(f"A change must be asked for from this origin, got {origin!r}.")


def _is_loopback(host: str) -> bool:
    """Return whether a Host header, `name` or `name:port`, names this machine and no other."""
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname or ""
        if parts.netloc != host or "@" in host:  # more than a name and a port
            return False
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
