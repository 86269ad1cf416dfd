"""A client that asks all the time, and minds how it is answered."""

import threading
import time
import uuid
from collections import Counter
from types import TracebackType
from typing import Self

import httpx

from bench.faults.trial import BRIEF

PAUSE_S = 0.03
"""Between two requests."""

PATIENCE_S = 20.0
"""How long an answer may take; the service gives up on its database after 5 s a connection."""

PROBLEM = "application/problem+json"


class Poller:
    """Asks a service in a thread, one route after the other, while the context lasts.

    Args:
        address: of the service.
        job_id: a job to ask about.
    """

    def __init__(self, address: str, job_id: uuid.UUID) -> None:
        self.answers: Counter[int] = Counter()
        """Status -> how often it came."""
        self.violations: list[str] = []
        self.longest_away_s = 0.0
        """Longest time without any answer below 400."""
        self._address = address
        job = f"/v1/jobs/{job_id}"
        self._questions: tuple[tuple[str, str], ...] = (
            ("GET", job),
            ("GET", "/v1/jobs?limit=5"),
            ("GET", f"{job}/events?after=0"),
            ("GET", f"{job}/path"),
            ("GET", f"{job}/models"),
            ("GET", "/v1/workers"),
            ("GET", "/readyz"),
            ("GET", "/metrics"),
            ("POST", "/v1/jobs?dry_run=true"),
            ("GET", f"/v1/jobs/{uuid.uuid4()}"),
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        well_at = time.monotonic()
        with httpx.Client(base_url=self._address, timeout=PATIENCE_S) as client:
            while not self._stop.is_set():
                for method, url in self._questions:
                    answer = self._ask(client, method, url)
                    now = time.monotonic()
                    if answer is not None and answer.is_success and url != "/healthz":
                        self.longest_away_s = max(self.longest_away_s, now - well_at)
                        well_at = now
                    if self._stop.wait(PAUSE_S):
                        return

    def _ask(self, client: httpx.Client, method: str, url: str) -> httpx.Response | None:
        """Return an answer, having judged it; None if there was none."""
        body = dict(BRIEF) if method == "POST" else None
        try:
            answer = client.request(method, url, json=body)
        except httpx.TransportError as error:
            self.violations.append(f"{method} {url} must be answered: {type(error).__name__}")
            return None
        self.answers[answer.status_code] += 1
        kind = answer.headers.get("content-type", "")
        wrong = answer.status_code >= 500 and answer.status_code != 503
        if wrong or (answer.is_error and not kind.startswith(PROBLEM)):
            told = f"{method} {url} must be answered by 2xx, 4xx or 503 as {PROBLEM}"
            self.violations.append(f"{told}, got {answer.status_code} as {kind or 'nothing'}")
        return answer
