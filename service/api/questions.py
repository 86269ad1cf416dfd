"""What the routes take in their query: names that are not here are refused."""

import uuid
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service.contract import LARGEST, CheckpointFormat, JobKind, JobState, Measure, ModelKind
from service.jobs.budgets import Budget

FRONT: tuple[Measure, Measure] = ("macs", "accuracy")
"""Over which a front is if nobody says it."""

_Count = Annotated[int, Field(ge=0, le=LARGEST)]
_YES = frozenset({"true", "1", "yes", "on", "t", "y"})  # what pydantic takes for a boolean
_NO = frozenset({"false", "0", "no", "off", "f", "n"})
_TEXT = r"^[^\x00-\x1f\x7f]*$"


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class SubmitQuery(_Query):
    """How jobs are submitted."""

    dry_run: bool = Field(False, description="Only say what they would take; store nothing.")


class SubmitJobQuery(SubmitQuery):
    """How a job is submitted."""

    again: bool = Field(
        False, description="Export anew, even where an export like it is there or on its way."
    )


class _PageQuery(_Query):
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(
        None, min_length=22, max_length=22, pattern="^[A-Za-z0-9_-]+$", description="From `next`."
    )


class JobsQuery(_PageQuery):
    """Which jobs."""

    state: list[JobState] = Field([], description="Only jobs in one of these states.")
    kind: list[JobKind] = Field([], description="Only jobs of one of these kinds.")
    label: str | None = Field(
        None, max_length=200, pattern=_TEXT, description="Only jobs with exactly this label."
    )
    sweep: uuid.UUID | None = Field(None, description="Only jobs of this sweep.")


class UploadQuery(_Query):
    """What is sent."""

    name: str | None = Field(
        None, min_length=1, max_length=255, pattern=_TEXT, description="What to call it."
    )


class UploadsQuery(_PageQuery):
    """Which uploads."""


class EventsQuery(_Query):
    """Which events; either field asks for JSON instead of a stream."""

    after: _Count | None = Field(None, description="Only events with a larger id.")
    limit: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, description="At most so many; 200 if not given."
    )


class PathQuery(_Query):
    """Which part of the path, and in which form."""

    layer: list[Annotated[str, Field(max_length=64, pattern=_TEXT)]] = Field(
        [], description="Only these layers, by name or number."
    )
    first: _Count | None = Field(None, alias="from", description="The first step wanted.")
    last: _Count | None = Field(None, alias="to", description="The last step wanted.")
    format: Literal["json", "npz"] = Field("json", description="npz holds every bit.")


class BudgetQuery(_Query):
    """What a model may cost and must reach."""

    max_macs: Annotated[int, Field(ge=1, le=LARGEST)] | None = None
    max_params: Annotated[int, Field(ge=1, le=LARGEST)] | None = None
    max_bytes: Annotated[int, Field(ge=1, le=LARGEST)] | None = Field(
        None, description="Of its checkpoint file, safetensors."
    )
    max_latency_ms: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Of an image, as the job measured it; what was not measured never fits."
    )
    min_accuracy: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="On the validation split."
    )
    kind: ModelKind | None = None

    @property
    def budget(self) -> Budget:
        """The bounds."""
        return Budget(
            max_macs=self.max_macs,
            max_params=self.max_params,
            max_bytes=self.max_bytes,
            max_latency_ms=self.max_latency_ms,
            min_accuracy=self.min_accuracy,
            kind=self.kind,
        )


def _pair(text: str) -> tuple[Measure, Measure] | None:
    """Return the two measures that a text names, None if it does not."""
    known: dict[str, Measure] = {name: name for name in get_args(Measure)}
    first, comma, second = text.partition(",")
    if not comma or first == second or first not in known or second not in known:
        return None
    return known[first], known[second]


def _checked_pair(text: str) -> str:
    if text.lower() in _YES | _NO:
        return text.lower()
    if _pair(text) is None:
        names = ", ".join(get_args(Measure))
        raise ValueError(
            f"pareto must be true, false, or two different ones of {names} with a comma between, "
            f"got {text!r}"
        )
    return text


class ModelsQuery(BudgetQuery):
    """Which models."""

    pareto: Annotated[str, AfterValidator(_checked_pair)] = Field(
        "false",
        description="true, or two measures with a comma between, such as macs,accuracy: only those "
        "on the front of what fits, over these two; true is macs,accuracy.",
    )

    @property
    def measures(self) -> tuple[Measure, Measure]:
        """Over which the front is."""
        return _pair(self.pareto) or FRONT

    @property
    def front_only(self) -> bool:
        """Whether only what is on the front is asked for."""
        return self.pareto not in _NO


class SweepsQuery(_PageQuery):
    """Which sweeps."""


class SweepQuery(ModelsQuery):
    """Which models of a sweep are shown; if nothing is said, its front."""

    pareto: Annotated[str, AfterValidator(_checked_pair)] = Field(
        "true",
        description="false lists every model that fits; two measures, such as params,latency, make"
        " another front than macs,accuracy.",
    )


class CheckpointQuery(BudgetQuery):
    """Which model, and in which form."""

    format: CheckpointFormat = Field(
        "safetensors",
        description="torch is an archive that torch alone loads. All but safetensors is made by a"
        " job of kind export.",
    )
