"""What is answered about the service: what it offers, who works, whether it is well."""

import uuid
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class BackboneAnswer(BaseModel):
    """A network that can be grown."""

    name: str
    groups: list[str] = Field(description="Of filters, in the order of the data.")
    standard_widths: dict[str, int] = Field(description="Of the published network.")
    smallest_size: int = Field(description="Side of the smallest image it takes, px.")
    largest_size: int
    only_sizes: list[int] | None = Field(description="The only sides it takes, if they are few.")


class BackboneList(BaseModel):
    """The networks that can be grown, and the schema of a job's settings."""

    items: list[BackboneAnswer]
    settings: dict[str, Any] = Field(description="JSON schema of a job's spec.")


class DatasetAnswer(BaseModel):
    """A data set, present or not; null where only the images themselves tell."""

    name: str
    title: str
    kind: Literal["known", "folder"]
    present: bool
    channels: int | None
    size: int | None = Field(description="Side of its images, px.")
    classes: int
    train: int
    test: int | None
    how_to_get: str
    licence: str | None
    augmentation: dict[str, Any] | None
    defaults: dict[str, dict[str, dict[str, Any]]] = Field(
        description="By kind of job and section, the settings that suit it."
    )


class DatasetList(BaseModel):
    """The data sets that can be asked for."""

    items: list[DatasetAnswer]


class WorkerAnswer(BaseModel):
    """A worker."""

    id: uuid.UUID
    host: str
    device: str | None
    state: Literal["alive", "silent", "stopped"]
    started_at: datetime
    heartbeat_at: datetime
    job_id: uuid.UUID | None = Field(description="What it works on, if that is yours.")
    label: str | None = Field(description="Of that job.")
    attempt: int | None = Field(
        description="Which try at that job this is, from 1; null if it was taken from the worker."
    )


class WorkerList(BaseModel):
    """The workers heard of within a day, the latest first."""

    items: list[WorkerAnswer]


class HealthAnswer(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadyAnswer(BaseModel):
    """Everything that the service needs is there."""

    status: Literal["ready"] = "ready"
    checks: list[str]
