"""Whatever is sent, the service answers with what its document says, and never with a 500."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from service.spec.jobs import KIND_NAMES, KINDS
from tests.service.running import SPEC, Service
from tests.service.tensor_files import content


def _fields(model: type[BaseModel]) -> Iterator[str]:
    """Yield the name of every field of a spec and of its sections."""
    for name, info in model.model_fields.items():
        yield name
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _fields(info.annotation)


_FIELDS = sorted({name for kind in KINDS for name in _fields(kind)})
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, -1, 2**63, 10**400, 8, 28]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["auto", "digits", "vgg11", "random", "\x00", "conv1"]),
)
_NAMES = st.one_of(st.sampled_from(_FIELDS), st.text(max_size=5))
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=4)
    ),
    max_leaves=8,
)
_KINDS = st.sampled_from([{"kind": name} for name in KIND_NAMES] + [{}])
_SPECS = st.tuples(_KINDS, st.dictionaries(_NAMES, _VALUES, max_size=6)).map(
    lambda drawn: {**SPEC, **drawn[0], **drawn[1]}
)
_ALLOWED = {200, 202, 400, 422}

_quickly = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@_quickly
@given(spec=_SPECS, dry_run=st.booleans())
def test_no_spec_breaks_a_submit(service: Service, spec: dict[str, Any], *, dry_run: bool) -> None:
    answer = service.client.post(f"/v1/jobs?dry_run={dry_run}", json=_sendable(spec))
    assert answer.status_code in _ALLOWED, answer.text
    if answer.status_code in {400, 422}:
        assert answer.json()["detail"]


_AXES = st.dictionaries(
    st.one_of(st.sampled_from(["backbone", "growth.ratio", "growth.start.conv1"]), _NAMES),
    st.one_of(st.lists(_VALUES, max_size=3), _VALUES),
    max_size=3,
)
_SWEEPS = st.fixed_dictionaries(
    {},
    optional={
        "base": st.one_of(_SPECS, _VALUES),
        "axes": st.one_of(_AXES, _VALUES),
        "specs": st.one_of(st.lists(_SPECS, max_size=3), _VALUES),
        "strategy": st.one_of(st.sampled_from(["grid", "halving"]), _VALUES),
        "halving": _VALUES,
        "max_training_macs": _VALUES,
        "label": _VALUES,
    },
)


@_quickly
@given(sweep=_SWEEPS, dry_run=st.booleans())
def test_no_sweep_breaks_a_start(service: Service, sweep: dict[str, Any], *, dry_run: bool) -> None:
    answer = service.client.post(f"/v1/sweeps?dry_run={dry_run}", json=_sendable(sweep))
    assert answer.status_code in _ALLOWED, answer.text
    if answer.status_code in {400, 422}:
        assert answer.json()["detail"]


@_quickly
@given(
    query=st.dictionaries(
        st.sampled_from(
            [
                "after",
                "limit",
                "layer",
                "from",
                "to",
                "format",
                "max_macs",
                "max_latency_ms",
                "max_bytes",
                "pareto",
                "cursor",
                "label",
                "x",
            ]
        ),
        st.one_of(
            st.text(max_size=10), st.integers().map(str), st.sampled_from(["npz", "macs,bytes"])
        ),
    ),
    path=st.sampled_from(
        [
            "",
            "/{id}/attempts",
            "/{id}/events",
            "/{id}/path",
            "/{id}/models",
            "/{id}/checkpoint",
            "/{id}/artifacts",
        ]
    ),
)
def test_no_query_breaks_a_read(service: Service, query: dict[str, str], path: str) -> None:
    job_id = service.client.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": "fuzz"}).json()[
        "id"
    ]
    answer = service.client.get(
        f"/v1/jobs{path.format(id=job_id)}",
        params=query,
        headers={"Accept": "application/json"},
    )
    assert answer.status_code in {200, 404, 422}, answer.text


@_quickly
@given(
    job=st.one_of(
        st.just("{id}"), st.uuids().map(str), st.text("0123456789abcdef-%{}. \u00e9", max_size=40)
    ),
    call=st.sampled_from(["cancel", "pause", "resume", "retry"]),
    body=st.one_of(st.none(), _VALUES),
    query=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
)
def test_nothing_that_is_sent_breaks_the_steering_of_a_job(
    service: Service, job: str, call: str, body: object, query: dict[str, str]
) -> None:
    job_id = service.client.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": "fuzz"}).json()[
        "id"
    ]
    answer = service.client.post(
        f"/v1/jobs/{job.replace('{id}', job_id)}/{call}", params=query, json=_sendable(body)
    )
    assert answer.status_code in {202, 404, 405, 409, 422}, answer.text


@_quickly
@given(
    body=st.one_of(st.binary(max_size=40), _VALUES.map(lambda value: content(_sendable(value)))),
    query=st.dictionaries(
        st.sampled_from(["name", "limit", "cursor", "x"]), st.text(max_size=10), max_size=2
    ),
    headers=st.dictionaries(
        st.sampled_from(["Content-Type", "Content-Length", "Range"]),
        st.one_of(st.just("application/octet-stream"), st.text("0189/-;x", max_size=20)),
        max_size=1,
    ),
    upload=st.one_of(st.uuids().map(str), st.text("0123456789abcdef-%{}. \u00e9", max_size=40)),
)
def test_nothing_that_is_sent_breaks_the_uploads(
    service: Service, body: bytes, query: dict[str, str], headers: dict[str, str], upload: str
) -> None:
    sent = service.client.post("/v1/uploads", params=query, content=body, headers=headers)
    assert sent.status_code in {201, 400, 413, 415, 422}, sent.text
    assert service.client.get("/v1/uploads", params=query).status_code in {200, 422}
    for method in ("GET", "DELETE"):
        answer = service.client.request(method, f"/v1/uploads/{upload}")
        assert answer.status_code in {200, 404, 405, 422}, answer.text


def _sendable(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a value that the client library is willing to write as JSON."""
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):  # noqa: PLR0124
        return 0.5
    if isinstance(value, list):
        return [_sendable(each) for each in value]
    if isinstance(value, dict):
        return {name: _sendable(each) for name, each in value.items()}
    return value


@pytest.mark.parametrize("depth", [50, 100_000])
def test_a_deep_body_is_refused(local: Service, depth: int) -> None:
    answer = local.client.post(
        "/v1/jobs",
        content=b"[" * depth + b"]" * depth,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 400
