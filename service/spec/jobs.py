"""The kinds of jobs, each with its spec; `JobSpec` is any of them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, TypeAdapter

from service.spec.by_group import Width
from service.spec.growth import GrowthSpec
from service.spec.sections import (
    ComputeSpec,
    DataSpec,
    FormatsSpec,
    MaskSpec,
    OptimSpec,
    PicturesSpec,
    PruningSpec,
    SourceSpec,
    TrainingSpec,
    TuneSpec,
    TwinSpec,
)
from service.spec.strict import Strict

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]

Stem = Literal["auto", "standard", "small"]

_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
_Widths = Annotated[
    Width | dict[str, Width] | None,
    Field(description="Filters of a group, one number or one per group; null: standard."),
]


class AnyJob(Strict):
    """What every job has, whatever its kind."""

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
    compute: ComputeSpec = ComputeSpec()

    def completed(self, defaults: Mapping[str, Mapping[str, object]]) -> Self:
        """Return the spec with every null for which there is a default filled.

        Args:
            defaults: section -> field -> value, those of the kind and the data set.
        """
        filled = self.model_dump(mode="json")
        for section, values in defaults.items():
            for name, value in values.items():
                if filled[section][name] is None:
                    filled[section][name] = value
        return type(self).model_validate(filled)


class Fresh(AnyJob):
    """A job that begins with initial weights."""

    dataset: Annotated[Name, Field(description="A name from GET /v1/datasets.")]
    backbone: Annotated[Name, Field(description="A name from GET /v1/backbones.")]
    stem: Annotated[
        Stem,
        Field(
            description="The published one, or one for small images; auto takes the small one,"
            " where there is one, for images below 64 px."
        ),
    ] = "auto"
    optim: OptimSpec = OptimSpec()


class GrowSpec(Fresh):
    """Grow a network from a narrow one: a data set, a backbone, and what should differ."""

    kind: Literal["grow"] = "grow"
    growth: GrowthSpec = GrowthSpec()
    tune: TuneSpec = TuneSpec()


class TrainSpec(Fresh):
    """Train a network of fixed widths with SLBI, which finds its structure meanwhile."""

    kind: Literal["train"]
    widths: _Widths = None
    twin: TwinSpec = TwinSpec()
    train: TrainingSpec = TrainingSpec()


class WeightsSpec(Fresh):
    """Select single weights with SLBI, then tune them, or train them anew."""

    kind: Literal["weights"]
    widths: _Widths = None
    twin: TwinSpec = TwinSpec()
    train: TrainingSpec = TrainingSpec()
    finetune: Annotated[
        TrainingSpec, Field(description="Of the trained weights under their mask.")
    ] = TrainingSpec()
    retrain: Annotated[
        TrainingSpec, Field(description="Of the initial weights under the same mask.")
    ] = TrainingSpec()


class TicketSpec(Fresh):
    """Find a winning ticket: an early mask, trained from early weights, against its rivals."""

    kind: Literal["ticket"]
    widths: _Widths = None
    twin: TwinSpec = TwinSpec()
    train: TrainingSpec = TrainingSpec()
    mask: MaskSpec = MaskSpec()
    retrain: TrainingSpec = TrainingSpec()
    rivals: Annotated[
        tuple[Literal["random", "dense"], ...],
        Field(
            max_length=2,
            description="random: the same mask over random weights; dense: no mask.",
        ),
    ] = ("random", "dense")
    transfer_to: Annotated[
        Name | None,
        Field(description="A second data set of the same image shape, to retrain on as well."),
    ] = None
    source: Annotated[
        SourceSpec | None, Field(description="A network to search in, instead of initial weights.")
    ] = None
    start: Annotated[
        Literal["source", "initial"] | None,
        Field(description="To which weights a rewind of 0 goes back; null: those of the source."),
    ] = None


class FromSource(AnyJob):
    """A job that starts from a finished network."""

    source: SourceSpec
    dataset: Annotated[
        Name | None, Field(description="Null: that of the source job; an upload needs one.")
    ] = None
    backbone: Annotated[
        Name | None, Field(description="Null: that of the source; it must be the source's.")
    ] = None
    stem: Annotated[
        Stem | None, Field(description="Null: that of the source; an upload without one: auto.")
    ] = None


class PruneSpec(FromSource):
    """Prune a finished network, and tune what is left."""

    kind: Literal["prune"]
    pruning: PruningSpec
    optim: OptimSpec = OptimSpec()
    finetune: TrainingSpec = TrainingSpec()


class Still(FromSource):
    """A job that trains nothing."""


class VisualiseSpec(Still):
    """Make pictures of a finished network and of how it came about."""

    kind: Literal["visualise"]
    pictures: PicturesSpec = PicturesSpec()


class ExportSpec(Still):
    """Hand a finished network over in the formats that other programs read."""

    kind: Literal["export"]
    export: FormatsSpec = FormatsSpec()


KINDS: tuple[type[AnyJob], ...] = (
    GrowSpec, TrainSpec, WeightsSpec, TicketSpec, PruneSpec, VisualiseSpec, ExportSpec,
)  # fmt: skip
KIND_NAMES = tuple(kind.model_fields["kind"].annotation.__args__[0] for kind in KINDS)  # type: ignore[union-attr]  # each is a Literal of one


def _tag_of(value: object) -> str:
    """Return the tag of a spec's kind; a spec that names none is to grow.

    An error's place begins with the tag, which must not be taken for a field: `train` is one too.
    """
    given = isinstance(value, Mapping)
    kind = value.get("kind", "grow") if given else getattr(value, "kind", None)  # type: ignore[attr-defined]
    return f"kind={kind}"


JobSpec = Annotated[
    Annotated[GrowSpec, Tag("kind=grow")]
    | Annotated[TrainSpec, Tag("kind=train")]
    | Annotated[WeightsSpec, Tag("kind=weights")]
    | Annotated[TicketSpec, Tag("kind=ticket")]
    | Annotated[PruneSpec, Tag("kind=prune")]
    | Annotated[VisualiseSpec, Tag("kind=visualise")]
    | Annotated[ExportSpec, Tag("kind=export")],
    Discriminator(_tag_of),
]
"""A job as asked, of any kind."""


def source_asked(spec: JobSpec) -> SourceSpec | None:
    """Return the network that a job starts from; None if it begins with initial weights."""
    return spec.source if isinstance(spec, FromSource | TicketSpec) else None


_ADAPTER: TypeAdapter[Any] = TypeAdapter(JobSpec)


def read_spec(value: Mapping[str, Any]) -> JobSpec:
    """Return a spec from parsed JSON.

    Raises:
        ValidationError: it is none.
    """
    spec: JobSpec = _ADAPTER.validate_python(value)
    return spec


def spec_schema() -> dict[str, Any]:
    """Return the JSON schema of every kind."""
    return _ADAPTER.json_schema()
