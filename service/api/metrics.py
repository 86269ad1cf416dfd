"""What the service counts, for Prometheus. One registry for each app, none for the process."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.contract import AttemptOutcome, JobState
from service.store.database import Database
from service.store.jobs import count_attempts_by_outcome, count_by_state
from service.store.workers import count_alive


class Metrics:
    """Counts requests as they come and jobs as they stand when asked.

    Args:
        database: where the jobs are.
        lease: a worker silent for longer is not alive.
    """

    def __init__(self, database: Database, lease: timedelta) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Stored(database, lease))
        labels = ("method", "route")
        self._requests = Counter(
            "slbi_http_requests",
            "Requests answered.",
            (*labels, "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "slbi_http_request_seconds",
            "From the request to the beginning of its answer.",
            labels,
            registry=self._registry,
        )

    def answered(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """Return every number, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Stored(Collector):
    """Numbers that the database holds, read when asked for: every process gives the same."""

    def __init__(self, database: Database, lease: timedelta) -> None:
        self._database = database
        self._lease = lease

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self._database.reading() as session:
            states = count_by_state(session)
            outcomes = count_attempts_by_outcome(session)
            alive = count_alive(session, datetime.now(UTC), self._lease)
        jobs = GaugeMetricFamily("slbi_jobs", "Jobs by state.", labels=["state"])
        for state in JobState:
            jobs.add_metric([state], states.get(state, 0))
        attempts = GaugeMetricFamily(
            "slbi_attempts", "Attempts that ended, by outcome.", labels=["outcome"]
        )
        for outcome in AttemptOutcome:
            attempts.add_metric([outcome], outcomes.get(outcome, 0))
        yield jobs
        yield attempts
        yield GaugeMetricFamily("slbi_workers_alive", "Workers heard of lately.", value=alive)
