"""The service as one ASGI app, put together from its parts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from service import logs
from service.api import events, health, jobs, models, offers, path, sweeps, uploads
from service.api.access import Access
from service.api.context import Context
from service.api.edge import BodyCap, Edge
from service.api.metrics import Metrics
from service.api.problems import (
    Problem,
    on_http_exception,
    on_service_error,
    on_validation_error,
)
from service.catalogue import Catalogue
from service.errors import ServiceError
from service.keys import check_exposure
from service.queue import CeleryQueue, Queue
from service.reconciler import Reconciler
from service.settings import Settings
from service.store.database import Database
from service.sweeper import Sweeper

API_VERSION = "1"
"""Version of the API, as in its paths. Source: docs/api.md."""


class Background(Protocol):
    """Something that works beside the requests, as long as the app runs."""

    def start(self) -> None:
        """Begin; return at once."""

    def stop(self) -> None:
        """End, and wait for the end."""


def create_app(
    settings: Settings,
    database: Database,
    queue: Queue,
    catalogue: Catalogue,
    background: Sequence[Background] = (),
) -> FastAPI:
    """Return the app. It connects to nothing before it is served.

    Args:
        settings: the address served, the directories, the limits.
        database: migrated before the first request.
        queue: wakes workers.
        catalogue: what can be asked for.
        background: started and stopped with the app, in this order and the opposite one.
    """
    metrics = Metrics(database, timedelta(seconds=settings.lease_seconds))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        for each in background:
            each.start()
        yield
        for each in reversed(background):
            await run_in_threadpool(each.stop)

    app = FastAPI(
        title="slbi",
        summary="Networks that grow to fit their data.",
        version=API_VERSION,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name whatever host and scheme the request did
        lifespan=lifespan,
        # Only says in the OpenAPI document how a key is sent; `Access` is what asks for it.
        dependencies=[Depends(HTTPBearer(auto_error=False))],
        exception_handlers={
            ServiceError: on_service_error,
            HTTPException: on_http_exception,
            RequestValidationError: on_validation_error,
        },
    )
    app.state.context = Context(
        settings=settings, database=database, queue=queue, catalogue=catalogue, metrics=metrics
    )
    for router in (jobs, events, path, models, sweeps, uploads, offers, health):
        app.include_router(router.router)
    app.add_middleware(Access, database=database, settings=settings)
    larger = {("POST", uploads.UPLOADS): settings.upload_max_bytes}
    app.add_middleware(BodyCap, limit=settings.max_body_bytes, others=larger)
    app.add_middleware(Edge, metrics=metrics)  # added last, so outermost
    _document_problems(app)
    return app


def app_from_environment() -> FastAPI:
    """Return the app that the environment describes, for `uvicorn --factory`.

    Raises:
        ExposureError: the address is not a loopback one and no active key exists.
    """
    settings = Settings()
    logs.configure(settings.log_format)
    database = Database(settings.database)
    check_exposure(settings, database)
    queue = CeleryQueue(settings.broker_url)
    beside = caretakers(settings, database, queue)
    return create_app(settings, database, queue, Catalogue.generated(), beside)


def caretakers(settings: Settings, database: Database, queue: Queue) -> Sequence[Background]:
    """Return what works beside the requests of every process that serves the API."""
    return [Reconciler(database, queue, settings), Sweeper(database, settings)]


def _document_problems(app: FastAPI) -> None:
    """Put the schema of a problem, to which every route refers, into the OpenAPI document."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        document = describe()
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas |= schema.pop("$defs")
        schemas["Problem"] = schema
        return document

    app.openapi = described  # type: ignore[method-assign] # FastAPI's documented way
