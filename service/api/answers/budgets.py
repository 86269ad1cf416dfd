"""What is answered about budgets: the model to take and why, or the nearest."""

import uuid

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class BoundAnswer(_Answer):
    """How a model stands to one bound."""

    bound: str = Field(description="The parameter, e.g. max_macs.")
    limit: float | int
    value: float | int | None = Field(description="What the model has; null: not measured.")
    margin: float | int | None = Field(
        description="What it leaves up to the limit; negative: by how much it misses it."
    )
    share: float | None = Field(description="The same as a share of the limit.")
    binds: bool = Field(description="It refuses this model, or one that is more accurate.")


class ChoiceAnswer(_Answer):
    """The model that `/checkpoint` gives, and why."""

    job: uuid.UUID
    model: uuid.UUID
    reason: str = Field(description="A sentence for people; `bounds` hold the same for programs.")
    bounds: list[BoundAnswer]
    request: dict[str, str] = Field(description="Method and path of what fetches it.")


class NearestAnswer(ChoiceAnswer):
    """The model that comes nearest where none fits."""

    excess: float | None = Field(
        description="Sum of the shares by which it misses the bounds; null: it was not measured."
    )
