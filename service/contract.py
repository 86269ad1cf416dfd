"""What the service, its workers and its clients agree on: a job's spec, its states, task names."""

import uuid
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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

LARGEST = 2**63 - 1
"""Largest whole number that the databases store."""

_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"


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


class _Strict(BaseModel):
    """Refuses unknown fields; a spec that was accepted does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSpec(_Strict):
    """How the images are loaded, split and varied."""

    image_size: Annotated[
        int | None,
        Field(ge=8, le=224, description="Side in px after loading; null keeps the data set's own."),
    ] = None
    validation: Annotated[
        float,
        Field(gt=0, le=0.5, description="Share of the training images held out to decide by."),
    ] = 0.1
    augment: Annotated[
        bool, Field(description="Vary the training images as suits the data set.")
    ] = True


class OptimSpec(_Strict):
    """How the weights learn. A null takes the data set's default."""

    batch: Annotated[int | None, Field(ge=2, le=8192, description="Images a step.")] = None
    learning_rate: Annotated[
        float | None, Field(gt=0, le=10, description="Learning rate of the rounds.")
    ] = None
    momentum: Annotated[float | None, Field(ge=0, le=0.9999)] = None
    nesterov: bool | None = None
    weight_decay: Annotated[float | None, Field(ge=0, le=1)] = None
    kappa: Annotated[
        float | None, Field(gt=0, le=1000, description="Damping of the Bregman iteration.")
    ] = None
    mu: Annotated[
        Annotated[float, Field(gt=0, le=1e6)] | Literal["auto"] | None,
        Field(description="Coupling of a weight and its twin; auto solves for it."),
    ] = None


class GrowthSpec(_Strict):
    """When, where and how far the network grows. A null takes the data set's default."""

    start: Annotated[
        Annotated[int, Field(ge=1, le=4096)]
        | dict[str, Annotated[int, Field(ge=1, le=4096)]]
        | None,
        Field(description="Filters a group starts with: one number, or one per group."),
    ] = None
    threshold: Annotated[
        Annotated[float, Field(gt=0, le=1)] | dict[str, Annotated[float, Field(gt=0, le=1)]] | None,
        Field(description="Fill at which a group is widened: one number, or one per group."),
    ] = None
    round_epochs: Annotated[
        int | None, Field(ge=1, le=1000, description="Epochs between two looks at the fill.")
    ] = None
    max_rounds: Annotated[int | None, Field(ge=1, le=1000)] = None
    ratio: Annotated[
        float | None,
        Field(ge=1, le=10, description="A widened group grows at least so many times."),
    ] = None
    minimum: Annotated[
        int | None, Field(ge=1, le=1024, description="A widened group gets at least so many more.")
    ] = None
    multiple: Annotated[
        int | None, Field(ge=1, le=256, description="Widths are rounded up to a multiple of this.")
    ] = None
    seed: Annotated[
        Literal["random", "orthogonal", "gradmax"] | None,
        Field(description="What new filters start as."),
    ] = None
    mode: Annotated[
        Literal["carry", "restart"] | None,
        Field(description="carry keeps function and optimizer state; restart keeps neither."),
    ] = None
    max_width: Annotated[
        int | None,
        Field(ge=1, le=65536, description="Null: the backbone's standard width of each group."),
    ] = None
    max_params: Annotated[int | None, Field(ge=1, le=LARGEST)] = None
    max_macs: Annotated[
        int | None,
        Field(ge=1, le=LARGEST, description="Multiply-accumulates of one image, forward."),
    ] = None
    max_epochs: Annotated[
        int | None, Field(ge=1, le=1_000_000, description="Of all rounds together.")
    ] = None
    max_seconds: Annotated[
        float | None, Field(gt=0, description="After so long no further round begins.")
    ] = None
    max_training_macs: Annotated[
        int | None,
        Field(ge=1, le=LARGEST, description="3 x forward x images, of all rounds together."),
    ] = None


class TuneSpec(_Strict):
    """What happens when no layer asks for more. A null takes the data set's default."""

    epochs: Annotated[int | None, Field(ge=0, le=10000)] = None
    schedule: Literal["cosine", "step", "constant"] | None = None
    pruned_epochs: Annotated[
        int | None, Field(ge=0, le=10000, description="After slicing to the support.")
    ] = None


class ComputeSpec(_Strict):
    """On what, how precisely, from which seed, and for how long."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: Annotated[
        int, Field(ge=0, le=2**63 - 1, description="On the CPU it fixes the result.")
    ] = 0
    threads: Annotated[int | None, Field(ge=1, le=1024, description="CPU threads.")] = None
    limit_seconds: Annotated[
        float | None,
        Field(gt=0, le=2_592_000, description="Wall-clock limit of the job, over all attempts."),
    ] = None


class JobSpec(_Strict):
    """A job as asked: a data set, a backbone, and whatever should differ from the defaults."""

    dataset: Annotated[
        str,
        Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$", description="A name from GET /v1/datasets."),
    ]
    backbone: Annotated[
        str,
        Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$", description="A name from GET /v1/backbones."),
    ]
    kind: Literal["grow"] = "grow"
    classes: Annotated[
        int | None,
        Field(ge=2, le=100_000, description="If given, it must match the data set's."),
    ] = None
    label: Annotated[
        str | None,
        Field(
            min_length=1, max_length=200, pattern=_PRINTABLE, description="To find the job again."
        ),
    ] = None
    priority: Annotated[int, Field(ge=-100, le=100, description="Higher runs earlier.")] = 0
    data: DataSpec = DataSpec()
    optim: OptimSpec = OptimSpec()
    growth: GrowthSpec = GrowthSpec()
    tune: TuneSpec = TuneSpec()
    compute: ComputeSpec = ComputeSpec()

    def completed(self, defaults: Mapping[str, Mapping[str, object]]) -> "JobSpec":
        """Return the spec with every null for which there is a default filled.

        Args:
            defaults: section -> field -> value, those of the data set.
        """
        filled = self.model_dump(mode="json")
        for section, values in defaults.items():
            for name, value in values.items():
                if filled[section][name] is None:
                    filled[section][name] = value
        return JobSpec.model_validate(filled)
