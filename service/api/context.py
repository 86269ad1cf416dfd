"""What every route may use."""

import threading
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from service.api.metrics import Metrics
from service.catalogue import Catalogue
from service.queue import Queue
from service.settings import Settings
from service.store.database import Database


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """The parts that one app is made of."""

    settings: Settings
    database: Database
    queue: Queue
    catalogue: Catalogue
    metrics: Metrics
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the server is asked to end: streams then end by themselves, between two events."""


def context(request: Request) -> Context:
    """Return the parts of the app that answers this request."""
    found: Context = request.app.state.context
    return found


Here = Annotated[Context, Depends(context)]
"""A route's parameter: the parts of its app."""
