"""What the routes take in their query: names that are not here are refused."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.contract import LARGEST, CheckpointFormat, JobKind, JobState, ModelKind
from service.jobs.results import Budget

_Count = Annotated[int, Field(ge=0, le=LARGEST)]
_TEXT = r"^[^\x00-\x1f\x7f]*$"


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class SubmitQuery(_Query):
    """How a job is submitted."""

    dry_run: bool = Field(False, description="Only say what the job would take; store nothing.")


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
            min_accuracy=self.min_accuracy,
            kind=self.kind,
        )


class ModelsQuery(BudgetQuery):
    """Which models."""

    pareto: bool = Field(False, description="Only those that no other beats.")


class CheckpointQuery(BudgetQuery):
    """Which model, and in which form."""

    format: CheckpointFormat = Field(
        "safetensors",
        description="torch is an archive that torch alone loads. All but safetensors is made by a"
        " job of kind export.",
    )
