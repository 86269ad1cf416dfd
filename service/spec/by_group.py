"""Settings of single groups of filters: least widths, exclusion, stages that share settings."""

from typing import Annotated

from pydantic import Field, model_validator

from service.spec.strict import Strict

Width = Annotated[int, Field(ge=1, le=4096)]
GreatWidth = Annotated[int, Field(ge=1, le=65536)]
Percent = Annotated[float, Field(ge=0, le=100)]
Fill = Annotated[float, Field(gt=0, le=1)]
Pattern = Annotated[str, Field(min_length=1, max_length=200)]

Multiple = Annotated[
    int | None, Field(ge=1, le=256, description="Widths are rounded up to a multiple of this.")
]
MinWidth = Annotated[
    GreatWidth | dict[str, GreatWidth] | None,
    Field(description="Fewest filters of a group: one number, or one per group."),
]
Exclude = Annotated[
    list[Pattern] | None,
    Field(
        max_length=1000,
        description="Groups, by name or pattern such as stage1.*, that stay as they are.",
    ),
]
STAGES = "Name or pattern of groups -> settings that they share; a group's own name comes first."


class _Stage(Strict):
    """Settings that some groups share."""

    @model_validator(mode="after")
    def _some(self) -> "_Stage":
        if not self.model_dump(exclude_none=True):
            names = ", ".join(type(self).model_fields)
            raise ValueError(f"a stage must set some of {names}, got none")
        return self


class GrowthStage(_Stage):
    """What groups that grow alike share."""

    start: Width | None = None
    threshold: Fill | None = None
    ratio: Annotated[float | None, Field(ge=1, le=10)] = None
    minimum: Annotated[int | None, Field(ge=1, le=1024)] = None
    min_width: GreatWidth | None = None
    max_width: GreatWidth | None = None
    together: Annotated[
        bool | None, Field(description="They have one fill and grow to one common width.")
    ] = None


class PruningStage(_Stage):
    """What groups that are pruned alike share."""

    percent: Percent | None = None
    min_width: GreatWidth | None = None
