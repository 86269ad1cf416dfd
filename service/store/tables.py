"""The tables, on SQLite and PostgreSQL alike.

Times are aware UTC datetimes. Keys are UUIDv7, so they sort by creation. Every row that a client
can see carries its owner, directly or through its job.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.contract import JobState

_States = ", ".join(f"'{state}'" for state in JobState)
_Json = JSON(none_as_null=True)  # not JSONB, which forgets the order of the widths
_BigSerial = BigInteger().with_variant(Integer(), "sqlite")


class Utc(TypeDecorator[datetime]):
    """An aware UTC datetime: SQLite forgets the zone, PostgreSQL answers in the session's."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Refuse naive times; store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time must carry its zone, got naive {value.isoformat()}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Return UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can name it too."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy declares it as an instance mapping
        datetime: Utc(),
        uuid.UUID: Uuid(),
        dict[str, Any]: _Json,
        bytes: LargeBinary(),
    }


class ApiKey(Base):
    """A key somebody may call with; only its SHA-256 is kept."""

    __tablename__ = "api_keys"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    prefix: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Job(Base):
    """What somebody asked for, and where it stands. The row is its own outbox."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"state IN ({_States})", name="state"),
        Index("ix_jobs_owner_id", "owner", "id"),
        Index("ix_jobs_claim", "state", "priority", "queued_at"),
        Index("ix_jobs_lease_until", "lease_until"),
        Index("ix_jobs_source_job", "source_job"),
        Index("ix_jobs_source_upload", "source_upload"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    owner: Mapped[uuid.UUID]
    kind: Mapped[str] = mapped_column(String(32))
    label: Mapped[str | None] = mapped_column(String(200))
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str] = mapped_column(String(64))
    source_job: Mapped[uuid.UUID | None]
    """Job whose model this one starts from; its files are kept until this one has ended."""
    source_upload: Mapped[uuid.UUID | None]
    """Likewise the upload."""
    state: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int]
    created_at: Mapped[datetime]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    pause_requested: Mapped[bool] = mapped_column(default=False)
    caps_from: Mapped[int] = mapped_column(default=0, server_default="0")
    """Fence from which on attempts that were lost or ran out of memory count against the caps."""
    furthest_step: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """The furthest optimizer step of which a checkpoint was ever kept."""
    limit_from: Mapped[int] = mapped_column(default=0, server_default="0")
    """Fence from which on attempts count against the job's wall-clock limit."""
    space_needed: Mapped[int | None] = mapped_column(BigInteger)
    """Bytes that must be free before a job that was paused for want of room goes on."""
    progress: Mapped[dict[str, Any] | None]
    findings: Mapped[dict[str, Any] | None]
    """What the job found out beyond its models."""
    best_accuracy: Mapped[float | None]
    error: Mapped[str | None]


class Attempt(Base):
    """One try at a job."""

    __tablename__ = "attempts"

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    fence: Mapped[int] = mapped_column(primary_key=True)
    worker_id: Mapped[uuid.UUID]
    host: Mapped[str] = mapped_column(String(255))
    device: Mapped[str | None] = mapped_column(String(255))
    pid: Mapped[int | None]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str | None]
    resumed_from: Mapped[int | None]


class JobEvent(Base):
    """What happened to a job, append-only: the source of the event stream, and the history."""

    __tablename__ = "job_events"
    __table_args__ = (Index("ix_job_events_job_id_id", "job_id", "id"),)

    id: Mapped[int] = mapped_column(_BigSerial, primary_key=True, autoincrement=True)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"))
    fence: Mapped[int]
    at: Mapped[datetime]
    type: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]


class IdempotencyKey(Base):
    """A submit that may be repeated: the same key and body give the same job."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (UniqueConstraint("owner", "key"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    owner: Mapped[uuid.UUID]
    key: Mapped[str] = mapped_column(String(255))
    body_sha256: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"))
    created_at: Mapped[datetime]


class Sweep(Base):
    """Several jobs that were asked for together."""

    __tablename__ = "sweeps"
    __table_args__ = (Index("ix_sweeps_owner_id", "owner", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    owner: Mapped[uuid.UUID]
    label: Mapped[str | None] = mapped_column(String(200))
    strategy: Mapped[str] = mapped_column(String(16))
    factor: Mapped[int]
    """Of the jobs that reach a rung, one in so many goes on."""
    min_epochs: Mapped[int]
    """Epochs up to the first rung; the next is `factor` times as far."""
    max_training_macs: Mapped[int | None] = mapped_column(BigInteger)
    """Of all its jobs together."""
    created_at: Mapped[datetime]


class Trial(Base):
    """One job of a sweep. The job itself is like any other."""

    __tablename__ = "trials"
    __table_args__ = (Index("ix_trials_sweep_id_position", "sweep_id", "position", unique=True),)

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    sweep_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sweeps.id"))
    position: Mapped[int]
    settings: Mapped[dict[str, Any]]
    """What of its spec the axes say: path -> value."""
    images: Mapped[int]
    """On which an epoch trains."""
    rungs: Mapped[dict[str, Any]]
    """Number of a rung, from 0, as text -> validation accuracy with which it was reached."""
    stopped: Mapped[str | None]
    """Why the sweep cancelled it; null if it did not."""


class Artifact(Base):
    """A file of a job. It exists for clients from `published_at` on, never before."""

    __tablename__ = "artifacts"
    __table_args__ = (
        Index("ix_artifacts_job_id", "job_id"),
        Index("ix_artifacts_job_id_title", "job_id", "title", unique=True),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    owner: Mapped[uuid.UUID]
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"))
    fence: Mapped[int]
    kind: Mapped[str] = mapped_column(String(32))
    format: Mapped[str] = mapped_column(String(32))
    title: Mapped[str | None] = mapped_column(String(255))
    """Its name within the job, e.g. "conv1-weights.png"; null for the checkpoint of a model."""
    step: Mapped[int | None] = mapped_column(BigInteger)
    """Last step of the path by then; null for the checkpoint of a model."""
    storage_key: Mapped[str] = mapped_column(String(255), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    published_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class Upload(Base):
    """A file that a client sent, whole and checked. It lies outside the folders of the jobs."""

    __tablename__ = "uploads"
    __table_args__ = (Index("ix_uploads_owner_id", "owner", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    owner: Mapped[uuid.UUID]
    name: Mapped[str | None] = mapped_column(String(255))
    """What the client called it; only shown, never a path."""
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    storage_key: Mapped[str] = mapped_column(String(255), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class Checkpoint(Base):
    """A file from which another attempt can go on, and what the run had recorded when it was kept.

    No client ever sees it.
    """

    __tablename__ = "checkpoints"
    __table_args__ = (Index("ix_checkpoints_job_id", "job_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"))
    fence: Mapped[int]
    step: Mapped[int] = mapped_column(BigInteger)
    """Optimizer steps taken."""
    epoch: Mapped[int]
    """Epochs finished."""
    round: Mapped[int]
    recorded_step: Mapped[int] = mapped_column(BigInteger)
    """Last step of the path that was recorded by then; what growth follows it is of `round`."""
    models: Mapped[int]
    """Members of the family that were published by then."""
    progress: Mapped[dict[str, Any] | None]
    """The job's progress by then."""
    storage_key: Mapped[str] = mapped_column(String(255), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class Model(Base):
    """One member of a job's family."""

    __tablename__ = "models"
    __table_args__ = (Index("ix_models_job_id_macs", "job_id", "macs"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"))
    position: Mapped[int]
    step: Mapped[int] = mapped_column(BigInteger)
    round: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    origin: Mapped[str] = mapped_column(String(64))
    dataset: Mapped[str | None] = mapped_column(String(64))
    """Data set whose classes it tells apart, where it is not the job's own."""
    widths: Mapped[dict[str, Any]]
    params: Mapped[int] = mapped_column(BigInteger)
    macs: Mapped[int] = mapped_column(BigInteger)
    validation_accuracy: Mapped[float]
    test_accuracy: Mapped[float | None]
    latency_ms: Mapped[float | None]
    artifact_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("artifacts.id"))


class Worker(Base):
    """A worker process, and when it was last heard of."""

    __tablename__ = "workers"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    device: Mapped[str | None] = mapped_column(String(255))
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    job_id: Mapped[uuid.UUID | None]
    stopped_at: Mapped[datetime | None]


class PathLayer(Base):
    """A layer whose support the path follows."""

    __tablename__ = "path_layers"

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    layer: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    growable: Mapped[bool]
    structure: Mapped[str] = mapped_column(String(16), default="filter", server_default="filter")
    """What enters the support as one: a `filter`, or an `element`, a single weight."""


class PathStep(Base):
    """One point of the path."""

    __tablename__ = "path_steps"

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    fence: Mapped[int]
    epoch: Mapped[int]
    round: Mapped[int]
    phase: Mapped[str] = mapped_column(String(16))
    """What it belonged to, any word of `slbi.structure.path.Phase`."""
    loss: Mapped[float]
    train_accuracy: Mapped[float]
    validation_accuracy: Mapped[float]
    support_accuracy: Mapped[float | None]
    """Validation accuracy of the weights on the support alone, 0 to 1."""
    learning_rate: Mapped[float]
    params: Mapped[int] = mapped_column(BigInteger)
    macs: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float]


class PathSupport(Base):
    """The support of one layer at one point, a bit a filter."""

    __tablename__ = "path_support"

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    layer: Mapped[int] = mapped_column(primary_key=True)
    n_filters: Mapped[int]
    n_active: Mapped[int]
    bits: Mapped[bytes]


class PathGrowth(Base):
    """One layer widened once."""

    __tablename__ = "path_growth"

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    layer: Mapped[int] = mapped_column(primary_key=True)
    round: Mapped[int]
    before: Mapped[int]
    after: Mapped[int]
    fill: Mapped[float]
    threshold: Mapped[float]
    reason: Mapped[str]
