"""The service as a Python object: one method a route, answers as parsed JSON."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from service.client.download import Download
from service.client.pieces import Pieces
from service.client.problem import ClientError, Problem, UnreachableError, problem_of
from service.client.retry import Backoff
from service.client.stream import Event, parse
from service.contract import FINAL_STATES, Bounds

Json = dict[str, Any]

PAGE = 100
"""Jobs asked for at once. Source: docs/api.md, the largest is 200."""

_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_UPLOAD_TIMEOUT = httpx.Timeout(300.0, connect=5.0)  # a slow disk syncs a large file for minutes
_STREAM_TIMEOUT = httpx.Timeout(60.0, connect=5.0)  # the service comments into a silent stream
_FINAL = frozenset(state.value for state in FINAL_STATES)


class Client:
    """Calls one service.

    A connection that fails and an answer of 503 are tried again. No call can do harm by that:
    `submit` always sends an Idempotency-Key, and an `upload` whose answer was lost expires. Where
    the answer to a `resume` or a `retry` was lost, the second try is refused and the first has been
    done.

    Args:
        base_url: Address of the service, e.g. `http://127.0.0.1:8000`.
        key: Sent as a bearer token; None suits a service on a loopback address.
        transport: For tests; None speaks HTTP over the network.
        backoff: When a call is tried again.

    Raises:
        Problem: The service refused.
        UnreachableError: It gave no answer.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"base_url must begin with http:// or https://, got {base_url!r}")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(
            base_url=base_url,
            headers={"User-Agent": "slbi", **headers},
            timeout=_TIMEOUT,
            follow_redirects=True,
            transport=transport,
        )
        self._backoff = backoff or Backoff()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self,
        spec: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        again: bool = False,
    ) -> Json:
        """Return the job made of a spec, or with `dry_run` what it would be and cost.

        Args:
            spec: A `service.spec.jobs.JobSpec` as JSON.
            idempotency_key: The same key and spec give the same job; None makes a new key.
            dry_run: Check and estimate, and make no job.
            again: Export anew; else an export like it that is there, or on its way, is the job.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        params = {"dry_run": "true"} if dry_run else {}
        params |= {"again": "true"} if again else {}
        return self._json("POST", "/v1/jobs", json=dict(spec), params=params, headers=headers)

    def job(self, job_id: str) -> Json:
        """Return one job."""
        return self._json("GET", f"/v1/jobs/{job_id}")

    def jobs(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        label: str | None = None,
        sweep: str | None = None,
    ) -> Iterator[Json]:
        """Give the jobs, newest first, fetching page after page as they are taken."""
        params: dict[str, Any] = _present(
            state=state, kind=kind, label=label, sweep=sweep, limit=PAGE
        )
        while True:
            page = self._json("GET", "/v1/jobs", params=params)
            yield from page["items"]
            if not page.get("next_cursor"):
                return
            params["cursor"] = page["next_cursor"]

    def cancel(self, job_id: str) -> Json:
        """Ask for a job's end and return it. Asking twice does no harm."""
        return self._json("POST", f"/v1/jobs/{job_id}/cancel")

    def pause(self, job_id: str) -> Json:
        """Ask for a job to be put aside and return it. Asking twice does no harm."""
        return self._json("POST", f"/v1/jobs/{job_id}/pause")

    def resume(self, job_id: str) -> Json:
        """Have a paused job go on, from its last checkpoint, and return it."""
        return self._json("POST", f"/v1/jobs/{job_id}/resume")

    def retry(self, job_id: str) -> Json:
        """Have a job that failed or was cancelled go on from its last checkpoint; return it."""
        return self._json("POST", f"/v1/jobs/{job_id}/retry")

    def attempts(self, job_id: str) -> list[Json]:
        """Return every attempt at a job, oldest first."""
        return list(self._json("GET", f"/v1/jobs/{job_id}/attempts")["items"])

    def events(self, job_id: str, *, after: int | None = None) -> Iterator[Event]:
        """Give a job's events as they happen, until its end.

        A stream that breaks is taken up behind the last event that came, so each comes once. In the
        history of a job that was retried its first end is not the last: the service is asked.

        Args:
            job_id: Whose events.
            after: Only events with a larger id; None starts at the first.

        Raises:
            UnreachableError: So many tries in a row brought no event.
        """
        waits = self._backoff.waits()
        final = False
        while True:
            asked = None
            try:
                with self._streamed(job_id, after) as response:
                    if response.status_code == httpx.codes.NO_CONTENT:
                        return
                    for event in parse(response.iter_lines()):
                        after, final = event.id, event.type in _FINAL
                        waits = self._backoff.waits()
                        yield event
                failure = "the stream of events ended before the job did"
            except httpx.TransportError as error:
                failure = _reason(error)
            except Problem as problem:
                if problem.status != httpx.codes.SERVICE_UNAVAILABLE:
                    raise
                failure, asked = problem.detail, problem.retry_after
            wait = 0.0 if final else next(waits, None)
            final = False
            if wait is None:
                raise self._unreachable(failure)
            self._backoff.wait(wait, asked)

    def path(self, job_id: str, *, layer: int | None = None) -> Json:
        """Return the structure path: its layers, curves and growth."""
        return self._json("GET", f"/v1/jobs/{job_id}/path", params=_present(layer=layer))

    def start_sweep(
        self, asked: Mapping[str, Any], *, idempotency_key: str | None = None, dry_run: bool = False
    ) -> Json:
        """Return the sweep that was started, or with `dry_run` what it would take.

        Args:
            asked: A `service.spec.sweeps.SweepSpec` as JSON.
            idempotency_key: The same key and body give the same sweep; None makes a new key.
            dry_run: Check and estimate, and make no job.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        params = {"dry_run": "true"} if dry_run else {}
        return self._json("POST", "/v1/sweeps", json=dict(asked), params=params, headers=headers)

    def sweep(self, sweep_id: str, *, pareto: str = "true", **bounds: Unpack[Bounds]) -> Json:
        """Return a sweep, its jobs, and the front of all their models, as `family` has it."""
        params = {"pareto": pareto, **_present(**bounds)}
        return self._json("GET", f"/v1/sweeps/{sweep_id}", params=params)

    def sweeps(self) -> Iterator[Json]:
        """Give the sweeps, newest first, fetching page after page as they are taken."""
        url: str | None = f"/v1/sweeps?limit={PAGE}"
        while url:
            page = self._json("GET", url)
            yield from page["items"]
            url = page["next"]

    def cancel_sweep(self, sweep_id: str) -> Json:
        """Cancel the jobs of a sweep that have not ended, and return it."""
        return self._json("POST", f"/v1/sweeps/{sweep_id}/cancel")

    def family(self, job_id: str, *, pareto: bool | str = False, **bounds: Unpack[Bounds]) -> Json:
        """Return the models that fit as `items`, which of them is `chosen` and why, or the nearest.

        Args:
            job_id: Whose; one that runs has the models that it has brought so far.
            pareto: Only those on the front; over which two measures if not MACs and accuracy, e.g.
                "params,accuracy".
            bounds: What a model may cost and must reach.
        """
        params = _present(**bounds)
        if pareto:
            params["pareto"] = pareto if isinstance(pareto, str) else "true"
        return self._json("GET", f"/v1/jobs/{job_id}/models", params=params)

    def models(
        self, job_id: str, *, pareto: bool | str = False, **bounds: Unpack[Bounds]
    ) -> list[Json]:
        """Return the models that fit, or those on their front, as `family` does."""
        return list(self.family(job_id, pareto=pareto, **bounds)["items"])

    def download(
        self,
        job_id: str,
        target: Path,
        *,
        format: str = "safetensors",  # noqa: A002 - the route's own word
        **bounds: Unpack[Bounds],
    ) -> Path:
        """Write the checkpoint of the best model that fits to `target` and return that path.

        The file appears whole or not at all, its SHA-256 is the one announced, and what an earlier
        call had already fetched is not fetched again.

        Raises:
            DamagedError: The file came with another SHA-256.
            OSError: It cannot be written.
        """
        params = _present(**bounds, format=format)
        fetch = Download(self._http, f"/v1/jobs/{job_id}/checkpoint", params, self._backoff)
        with self._named_failures():
            return fetch.to(target)

    def located(
        self,
        job_id: str,
        *,
        format: str = "safetensors",  # noqa: A002 - the route's own word
        **bounds: Unpack[Bounds],
    ) -> Json:
        """Return what `download` would fetch, without it: `model`, and the `export` that made it.

        These are ids; `export` is None where the file is the model's own.
        """
        url, params = f"/v1/jobs/{job_id}/checkpoint", _present(**bounds, format=format)
        with self._named_failures():
            # The answer has every header of the file, and whoever has any version gets no body.
            response = self._send("GET", url, params=params, headers={"If-None-Match": "*"})
        if response.is_error:
            raise problem_of(response)
        model = response.headers.get("Slbi-Model")
        if model is None:
            raise ClientError(f"{response.url} must name its model; is it an slbi service?")
        return {"model": model, "export": response.headers.get("Slbi-Export")}

    def artifacts(self, job_id: str) -> list[Json]:
        """Return the files of a job, checkpoints and what lies beside them, in their order."""
        return list(self._json("GET", f"/v1/jobs/{job_id}/artifacts")["items"])

    def download_artifact(self, artifact_id: str, target: Path) -> Path:
        """Write one file to `target`, as `download` does, and return that path.

        Raises:
            DamagedError: The file came with another SHA-256.
            OSError: It cannot be written.
        """
        fetch = Download(self._http, f"/v1/artifacts/{artifact_id}/content", {}, self._backoff)
        with self._named_failures():
            return fetch.to(target)

    def upload(self, path: Path, name: str | None = None) -> Json:
        """Send a safetensors file and return the upload that it became.

        Args:
            path: The file.
            name: What the upload is called; None takes the file's own name.

        Raises:
            OSError: The file cannot be read.
        """
        return self._json(
            "POST",
            "/v1/uploads",
            params={"name": path.name if name is None else name},
            content=Pieces(path),
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Length": str(path.stat().st_size),
            },
            timeout=_UPLOAD_TIMEOUT,
        )

    def backbones(self) -> list[Json]:
        """Return the backbones that can be asked for."""
        return list(self._json("GET", "/v1/backbones")["items"])

    def backbone(self, name: str) -> Json:
        """Return everything about one backbone: its groups, its layers."""
        return self._json("GET", f"/v1/backbones/{name}")

    def datasets(self) -> list[Json]:
        """Return the data sets, those that are present and those that are not."""
        return list(self._json("GET", "/v1/datasets")["items"])

    def workers(self) -> list[Json]:
        """Return the workers and when each was last heard of."""
        return list(self._json("GET", "/v1/workers")["items"])

    def _json(self, method: str, url: str, **request: Any) -> Json:  # noqa: ANN401 - httpx's own
        with self._named_failures():
            response = self._send(method, url, **request)
        if response.is_error:
            raise problem_of(response)
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ClientError(f"{response.url} must answer a JSON object; is it an slbi service?")
        return body

    def _send(self, method: str, url: str, **request: Any) -> httpx.Response:  # noqa: ANN401
        """Return the last answer, after trying again while it is worth it."""
        for wait in self._backoff.waits():
            try:
                response = self._http.request(method, url, **request)
            except httpx.TransportError:
                self._backoff.wait(wait)
                continue
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return response
            self._backoff.wait(wait, response.headers.get("Retry-After"))
        return self._http.request(method, url, **request)

    @contextmanager
    def _streamed(self, job_id: str, after: int | None) -> Iterator[httpx.Response]:
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        url = f"/v1/jobs/{job_id}/events"
        with self._http.stream("GET", url, headers=headers, timeout=_STREAM_TIMEOUT) as response:
            if response.is_error:
                response.read()
                raise problem_of(response)
            yield response

    @contextmanager
    def _named_failures(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise self._unreachable(_reason(error)) from error

    def _unreachable(self, reason: str) -> UnreachableError:
        return UnreachableError(f"{self._http.base_url} must answer, got: {reason}")


def _reason(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__


def _present(**values: Any) -> Json:  # noqa: ANN401 - JSON values
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}
