"""The sections of a spec. A null takes the default of the job's kind and data set."""

import uuid
from typing import Annotated, Literal

from pydantic import Field, model_validator

from service.contract import LARGEST, ExportFormat
from service.spec.by_group import STAGES, Exclude, MinWidth, Multiple, Percent, PruningStage
from service.spec.growth import Latency
from service.spec.strict import Strict


class DataSpec(Strict):
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
    memory: Annotated[
        Literal["auto", "ram", "disk"],
        Field(
            description="Where a folder's images are: all in memory, or read batch by batch; auto"
            " leaves ImageNet, and what does not fit, on disk."
        ),
    ] = "auto"
    workers: Annotated[
        int, Field(ge=0, le=128, description="Processes that read images from disk.")
    ] = 4


class OptimSpec(Strict):
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


class TuneSpec(Strict):
    """What happens when no layer asks for more. A null takes the data set's default."""

    epochs: Annotated[int | None, Field(ge=0, le=10000)] = None
    schedule: Literal["cosine", "step", "constant"] | None = None
    pruned_epochs: Annotated[
        int | None, Field(ge=0, le=10000, description="After slicing to the support.")
    ] = None


class ComputeSpec(Strict):
    """On what, how precisely, from which seed, and for how long."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: Annotated[
        int, Field(ge=0, le=2**63 - 1, description="On the CPU it fixes the result.")
    ] = 0
    threads: Annotated[
        int | None, Field(ge=1, le=1024, description="CPU threads of each process.")
    ] = None
    processes: Annotated[
        int,
        Field(ge=1, le=64, description="That train together, each on a GPU of the worker."),
    ] = 1
    limit_seconds: Annotated[
        float | None,
        Field(gt=0, le=2_592_000, description="Wall-clock limit of the job, over all attempts."),
    ] = None


class TwinSpec(Strict):
    """Which weights have a sparse twin, and what it takes to enter its support."""

    structure: Annotated[
        Literal["filter", "mixed", "element"] | None,
        Field(
            description="What enters as one: filters of all groups; filters of convolutions and"
            " single weights of linear layers; single weights of all layers."
        ),
    ] = None
    threshold: Annotated[
        float | None, Field(gt=0, le=1e6, description="Norm of Z above which a filter enters.")
    ] = None
    weight_threshold: Annotated[
        float | None, Field(gt=0, le=1e6, description="Size of Z above which a weight enters.")
    ] = None
    scaling: Annotated[
        Literal["none", "fan", "initial"] | None,
        Field(
            description="What the threshold is multiplied with: 1, the root of a filter's weights,"
            " or the layer's mean norm at the start."
        ),
    ] = None
    normalised: Annotated[
        bool | None, Field(description="The normalised variant, of single weights alone.")
    ] = None


class TrainingSpec(Strict):
    """How long something is trained, and how its learning rate falls."""

    epochs: Annotated[int | None, Field(ge=0, le=10000)] = None
    learning_rate: Annotated[
        float | None, Field(gt=0, le=10, description="At the beginning; null: the optimizer's.")
    ] = None
    schedule: Literal["constant", "drops", "cosine"] | None = None
    drops: Annotated[
        list[Annotated[int, Field(ge=1, le=10000)]] | None,
        Field(max_length=100, description="Epochs, from 0, that begin with a drop."),
    ] = None
    factor: Annotated[
        float | None, Field(gt=0, le=0.9999, description="What a drop leaves, as a share.")
    ] = None


class MaskSpec(Strict):
    """From which epoch a ticket takes its mask, and to which its weights go back."""

    epoch: Annotated[
        Annotated[int, Field(ge=1, le=10000)] | Literal["auto"] | None,
        Field(description="After so many epochs; auto: as soon as the mask is stable."),
    ] = None
    stable: Annotated[
        float | None,
        Field(gt=0, le=1, description="Overlap of two epochs' masks that counts as stable."),
    ] = None
    patience: Annotated[
        int | None, Field(ge=1, le=100, description="So many overlaps in a row must reach it.")
    ] = None
    rewind: Annotated[
        int | None,
        Field(
            ge=0, le=10000, description="The weights go back to the end of this epoch; 0: start."
        ),
    ] = None


class SourceSpec(Strict):
    """The network that a job starts from: one of a finished job, or an uploaded one."""

    job: Annotated[uuid.UUID | None, Field(description="A job that has succeeded.")] = None
    model: Annotated[
        uuid.UUID | None,
        Field(description="Which of its models; null: the one that /checkpoint would give."),
    ] = None
    upload: Annotated[
        uuid.UUID | None, Field(description="Or: a file sent to POST /v1/uploads.")
    ] = None

    @model_validator(mode="after")
    def _one(self) -> "SourceSpec":
        if (self.job is None) == (self.upload is None):
            raise ValueError("source must name either a job or an upload")
        if self.model is not None and self.job is None:
            raise ValueError("source must name the job of its model")
        return self


class PruningSpec(Strict):
    """What is pruned, by which order, and how much of it: percent, a budget, or a latency."""

    order: Annotated[
        Literal["mixed", "lexicographic", "norm"] | None,
        Field(
            description="mixed: norm less first epoch in the support. lexicographic: the epoch,"
            " then the norm. norm: the norm alone."
        ),
    ] = None
    percent: Annotated[
        Percent | dict[str, Percent] | None,
        Field(description="Of the filters that go: one number, or one per group or linear weight."),
    ] = None
    max_macs: Annotated[int | None, Field(ge=1, le=LARGEST)] = None
    max_params: Annotated[int | None, Field(ge=1, le=LARGEST)] = None
    max_latency_ms: Latency = None
    multiple: Multiple = None
    min_width: MinWidth = None
    exclude: Exclude = None
    stages: Annotated[
        dict[str, PruningStage] | None, Field(max_length=1000, description=STAGES)
    ] = None
    bias: Annotated[
        bool | None, Field(description="Prune biases and norms of the filters too.")
    ] = None
    slice: Annotated[
        bool | None,
        Field(description="Remove filters physically; else they are zero and stay zero."),
    ] = None

    @model_validator(mode="after")
    def _either(self) -> "PruningSpec":
        percent = self.percent is not None or any(
            stage.percent is not None for stage in (self.stages or {}).values()
        )
        budget = self.max_macs is not None or self.max_params is not None
        if percent + budget + (self.max_latency_ms is not None) != 1:
            raise ValueError(
                "pruning must name either percent, or max_macs or max_params, or max_latency_ms"
            )
        if self.max_latency_ms is not None and self.slice is False:
            raise ValueError("pruning must slice to reach max_latency_ms: zeros take their time")
        return self


class FormatsSpec(Strict):
    """In which formats a network is handed over."""

    formats: Annotated[
        list[ExportFormat] | None,
        Field(min_length=1, description="Which; null: all. A card comes with any."),
    ] = None
    check: Annotated[
        bool,
        Field(description="Run every file on images of the test split; fail if it differs."),
    ] = True


class PicturesSpec(Strict):
    """Which pictures are made, of what."""

    layers: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]] | None,
        Field(min_length=1, max_length=100, description="Modules; null: every convolution."),
    ] = None
    show: Annotated[
        list[Literal["weights", "activation", "kept", "support", "order"]] | None,
        Field(min_length=1, description="Which pictures; null: all that the source allows."),
    ] = None
    filters: Annotated[
        int | None, Field(ge=1, le=512, description="Filters of a layer that are shown at most.")
    ] = None
    steps: Annotated[
        int | None, Field(ge=1, le=10000, description="Of the ascent, for each filter.")
    ] = None
    learning_rate: Annotated[
        float | None, Field(gt=0, le=1000, description="Of the ascent, in steps of a pixel.")
    ] = None
