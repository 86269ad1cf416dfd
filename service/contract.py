"""What the service, its workers and its clients agree on: a job's states, events, task names."""

import uuid
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, TypedDict

WAKE_TASK = "slbi.wake"
"""Celery task that wakes a worker. It carries no data: the worker claims the best queued job."""

QUEUE = "slbi"
"""Celery queue of `WAKE_TASK`."""

WORKER_ENTRY_POINTS = "slbi.worker"
"""Entry-point group under which an installed worker offers itself to the command."""

LOCAL_OWNER = uuid.UUID(int=0)
"""Owner of what is asked without a key, which only a loopback address allows."""

ModelKind = Literal["grown", "trained", "pruned", "masked", "tuned", "ticket", "random", "dense"]
"""How a member of the family came about. Source: worker/training/recorder.py."""

JobKind = Literal["grow", "train", "weights", "ticket", "prune", "visualise", "export"]
"""What can be asked for. Source: service/spec/jobs.py has a spec of each."""

ExportFormat = Literal["onnx", "pt2", "torch", "card"]
"""What a model can be downloaded as once it is exported, beside its own safetensors file."""

CheckpointFormat = Literal["safetensors", ExportFormat]
"""What a model can be downloaded as."""

EXPORT_FILES: Mapping[ExportFormat, str] = MappingProxyType(
    {"onnx": "model.onnx", "pt2": "model.pt2", "torch": "model.zip", "card": "card.md"}
)
"""Such a format -> title of its file. Source: worker/training/export."""

LARGEST = 2**63 - 1
"""Largest whole number that the databases store."""


Measure = Literal["macs", "params", "bytes", "latency", "accuracy"]
"""What models are compared by: what they cost, and their validation accuracy."""


class Bounds(TypedDict, total=False):
    """What a model may cost and must reach; None sets no bound. Source: docs/api.md, "Budgets"."""

    max_macs: int | None
    max_params: int | None
    max_bytes: int | None
    max_latency_ms: float | None
    min_accuracy: float | None
    kind: str | None


class JobState(StrEnum):
    """Where a job is. Only `queued` can be claimed; the last three are final."""

    VALIDATING = "validating"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
"""States in which nothing more happens to a job, unless somebody has it tried again."""

RETRYABLE_STATES = frozenset({JobState.FAILED, JobState.CANCELLED})
"""Final states out of which a job can be tried again."""

HELD_STATES = frozenset({JobState.RUNNING, JobState.PAUSING, JobState.CANCELLING})
"""States in which an attempt holds the job's lease."""


class AttemptOutcome(StrEnum):
    """How one try at a job ended. Only `succeeded` and `failed` say something about the job."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    LOST = "lost"
    OOM = "oom"
    NO_SPACE = "no_space"


class EventType(StrEnum):
    """What a row of `job_events` says happened."""

    SUBMITTED = "submitted"
    CLAIMED = "claimed"
    PROGRESS = "progress"
    GREW = "grew"
    MODEL = "model"
    TESTED = "tested"
    FILE = "file"
    """There is a file beside the models; it replaces the one of its title."""
    FINDINGS = "findings"
    """What the job found out so far."""
    RESTORED = "restored"
    """The attempt goes on from a checkpoint of an earlier one."""
    CANCEL_REQUESTED = "cancel_requested"
    PAUSE_REQUESTED = "pause_requested"
    PAUSED = "paused"
    RESUMED = "resumed"
    """A paused job is back in the queue, or one that was about to pause goes on."""
    RETRIED = "retried"
    """A job that had failed or was cancelled is back in the queue."""
    ATTEMPT_ENDED = "attempt_ended"
    REQUEUED = "requeued"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
