"""What is answered about results: the path, the family, the files."""

import uuid
from datetime import datetime

from pydantic import BaseModel, Field

from service.api.answers.budgets import ChoiceAnswer, NearestAnswer
from service.contract import Measure, ModelKind
from service.jobs.results import Family, RankedMember
from service.store.path import StoredPath
from service.store.tables import Artifact


class LayerAnswer(BaseModel):
    """A layer, and its support at every one of the steps."""

    layer: int
    name: str
    kind: str
    growable: bool
    structure: str = Field(
        description="What enters the support as one: a filter, or an element, a single weight."
    )
    n_filters: list[int] = Field(description="Of an element layer: single weights.")
    n_active: list[int]


class StepAnswer(BaseModel):
    """One point of the path."""

    step: int
    epoch: int
    round: int
    phase: str = Field(
        description="What it belonged to, such as grow, tune or prune; anneal: the rate fell"
        " to zero for a target."
    )
    loss: float
    train_accuracy: float
    validation_accuracy: float
    support_accuracy: float | None = Field(
        description="On the validation split, of the weights on the support alone; null: unknown."
    )
    learning_rate: float
    params: int
    macs: int
    seconds: float


class GrowthAnswer(BaseModel):
    """One layer widened once."""

    step: int
    round: int
    layer: int
    name: str
    before: int
    after: int
    fill: float
    threshold: float
    reason: str


class PathAnswer(BaseModel):
    """The structure path."""

    layers: list[LayerAnswer]
    steps: list[StepAnswer]
    growth: list[GrowthAnswer]

    @classmethod
    def of(cls, path: StoredPath) -> "PathAnswer":
        """Return the answer for a path."""
        names = {row.layer: row.name for row in path.layers}
        layers = [
            LayerAnswer(
                layer=row.layer,
                name=row.name,
                kind=row.kind,
                growable=row.growable,
                structure=row.structure,
                n_filters=[support.n_filters for support in path.support[row.layer]],
                n_active=[support.n_active for support in path.support[row.layer]],
            )
            for row in path.layers
        ]
        steps = [StepAnswer.model_validate(row, from_attributes=True) for row in path.steps]
        growth = [
            GrowthAnswer(
                step=row.step,
                round=row.round,
                layer=row.layer,
                name=names[row.layer],
                before=row.before,
                after=row.after,
                fill=row.fill,
                threshold=row.threshold,
                reason=row.reason,
            )
            for row in path.growth
        ]
        return cls(layers=layers, steps=steps, growth=growth)


class ArtifactAnswer(BaseModel):
    """A file."""

    id: uuid.UUID
    title: str | None = Field(description="Its name within the job; null for that of a model.")
    kind: str = Field(description="checkpoint, picture, order, mask, table, export or card.")
    format: str
    step: int | None = Field(description="Last step of the path by then; null for a model's.")
    sha256: str
    bytes: int
    published_at: datetime
    expires_at: datetime | None
    href: str = Field(description="Where its content is.")

    @classmethod
    def of(cls, artifact: Artifact) -> "ArtifactAnswer":
        """Return the answer for a file."""
        return cls(
            id=artifact.id,
            title=artifact.title,
            kind=artifact.kind,
            format=artifact.format,
            step=artifact.step,
            sha256=artifact.sha256,
            bytes=artifact.bytes,
            published_at=artifact.published_at,
            expires_at=artifact.expires_at,
            href=f"/v1/artifacts/{artifact.id}/content",
        )


class ArtifactList(BaseModel):
    """The files of a job, in the order in which they came about."""

    items: list[ArtifactAnswer]


class ModelAnswer(BaseModel):
    """A member of a family."""

    id: uuid.UUID
    job_id: uuid.UUID
    step: int
    round: int
    kind: ModelKind
    origin: str
    dataset: str | None = Field(
        description="Whose classes it tells apart, where that is not the job's own data set."
    )
    widths: dict[str, int]
    params: int
    macs: int
    validation_accuracy: float
    test_accuracy: float | None = Field(description="Null until the run has read the test split.")
    latency_ms: float | None
    pareto: bool = Field(description="On the front, see `front`, of the models that fit.")
    expires_at: datetime | None = Field(
        description="Until when its file is kept; null while no end is set."
    )
    artifact: ArtifactAnswer

    @classmethod
    def of(cls, ranked: RankedMember) -> "ModelAnswer":
        """Return the answer for a model."""
        model, artifact = ranked.member.model, ranked.member.artifact
        return cls.model_validate(
            {
                **{name: getattr(model, name) for name in cls.model_fields if hasattr(model, name)},
                "pareto": ranked.pareto,
                "expires_at": artifact.expires_at,
                "artifact": ArtifactAnswer.of(artifact),
            }
        )


class FrontAnswer(BaseModel):
    """Over what the front is, and who cannot be on it."""

    measures: tuple[Measure, Measure]
    left_out: list[uuid.UUID] = Field(
        description="Models that fit and of which nobody took one of the measures."
    )


class ModelList(BaseModel):
    """The models that fit, the cheapest first, and the one to take."""

    items: list[ModelAnswer]
    front: FrontAnswer
    chosen: ChoiceAnswer | None = Field(
        description="What /checkpoint gives for the same bounds; null if none fits."
    )
    nearest: NearestAnswer | None = Field(
        description="The nearest, where models are and none fits."
    )
    ended: bool = Field(description="The job has ended; until then models may be added.")

    @classmethod
    def of(cls, family: Family, *, front_only: bool) -> "ModelList":
        """Return the answer for a family, or for its front."""
        chosen, near = family.chosen, family.nearest
        return cls(
            items=[ModelAnswer.of(each) for each in family.ranked if each.pareto or not front_only],
            front=FrontAnswer(
                measures=family.measures, left_out=[each.model.id for each in family.lacking]
            ),
            chosen=None if chosen is None else ChoiceAnswer.model_validate(chosen),
            nearest=None if near is None else NearestAnswer.model_validate(near),
            ended=family.ended,
        )
