"""What is answered about the service: what it offers, who works, whether it is well."""

import uuid
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from service.catalogue import Backbone


class StemAnswer(BaseModel):
    """A stem that a network can have."""

    name: Literal["standard", "small"]
    smallest_size: int = Field(description="Side of the smallest image it takes, px.")
    largest_size: int
    only_sizes: list[int] | None = Field(description="The only sides it takes, if they are few.")


class PublishedAnswer(BaseModel):
    """What a network costs as it was published, for 3 channels and 1,000 classes."""

    size: int = Field(description="Side of the image, px.")
    params: int
    macs: int = Field(description="Multiply-accumulates of one image, forward.")


class BackboneEntry(BaseModel):
    """A network that can be grown, in short."""

    name: str
    group_count: int = Field(description="Groups of filters.")
    published: PublishedAnswer
    stems: list[StemAnswer]

    @classmethod
    def of(cls, backbone: Backbone) -> "BackboneEntry":
        """Return a network in short."""
        return BackboneEntry(**_short(backbone))


class GroupAnswer(BaseModel):
    """Filters that come and go together."""

    name: str
    standard_width: int = Field(description="Of the published network.")
    fixed: str | None = Field(description="Why it keeps the width it starts with, if it does.")


class LayerAnswer(BaseModel):
    """A convolution or linear layer."""

    name: str
    kind: Literal["conv", "linear"]
    called: bool = Field(description="Whether pictures of its activation can be made.")


class BackboneAnswer(BackboneEntry):
    """A network that can be grown."""

    groups: list[GroupAnswer] = Field(description="In the order of the data.")
    layers: list[LayerAnswer]

    @classmethod
    def of(cls, backbone: Backbone) -> "BackboneAnswer":
        """Return everything about a network."""
        return BackboneAnswer(
            **_short(backbone),
            groups=[
                GroupAnswer(name=name, standard_width=width, fixed=backbone.fixed.get(name))
                for name, width in backbone.standard_widths.items()
            ],
            layers=[
                LayerAnswer.model_validate(layer, from_attributes=True)
                for layer in backbone.layers()
            ],
        )


class BackboneList(BaseModel):
    """The networks that can be grown, and the schema of a job's settings."""

    items: list[BackboneEntry]
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


def _short(backbone: Backbone) -> dict[str, Any]:
    stems = [
        {
            "name": name,
            "smallest_size": stem.smallest,
            "largest_size": stem.largest,
            "only_sizes": stem.only,
        }
        for name, stem in backbone.stems.items()
    ]
    return {
        "name": backbone.name,
        "group_count": len(backbone.standard_widths),
        "published": asdict(backbone.published),
        "stems": stems,
    }
