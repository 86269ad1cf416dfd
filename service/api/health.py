"""Routes: whether the service lives, whether it can work, and what it counts."""

from fastapi import APIRouter, Response

from service.api.answers.offers import HealthAnswer, ReadyAnswer
from service.api.context import Here
from service.api.problems import RETRY_SECONDS, documented
from service.errors import FieldError, UnavailableError
from service.readiness import checks

router = APIRouter(tags=["health"])


@router.get("/healthz")
def get_health() -> HealthAnswer:
    """Say that the process answers."""
    return HealthAnswer()


@router.get("/readyz", responses=documented(401, 403, 503))
def get_readiness(here: Here) -> ReadyAnswer:
    """Say whether database, schema, disk, broker and a worker are there."""
    found = checks(here.database, here.queue, here.settings)
    wrong = [
        FieldError(pointer=name, code="not_ready", message=message)
        for name, message in found.items()
        if message is not None
    ]
    if wrong:
        told = " ".join(f"{each.pointer}: {each.message}." for each in wrong)
        raise UnavailableError(told, wrong, headers={"Retry-After": str(RETRY_SECONDS)})
    return ReadyAnswer(checks=sorted(found))


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **documented(401, 403, 503),
    },
)
def get_metrics(here: Here) -> Response:
    """Return what the service counts, in Prometheus' text format."""
    return Response(here.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
