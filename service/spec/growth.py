"""The section `growth` of a spec, and the targets in it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from service.contract import LARGEST
from service.spec.by_group import STAGES, Exclude, Fill, GrowthStage, MinWidth, Multiple, Width
from service.spec.strict import Strict

Latency = Annotated[
    float | None,
    Field(gt=0, le=1e6, description="Of an image, measured on the device and threads of the job."),
]


class TargetSpec(Strict):
    """What one network of a family may cost at most; whatever is named holds."""

    share: Annotated[
        float | None,
        Field(gt=0, le=1, description="Of the MACs of the backbone's standard widths."),
    ] = None
    max_macs: Annotated[
        int | None,
        Field(ge=1, le=LARGEST, description="Multiply-accumulates of one image, forward."),
    ] = None
    max_params: Annotated[int | None, Field(ge=1, le=LARGEST)] = None
    max_latency_ms: Latency = None

    @model_validator(mode="after")
    def _counted(self) -> "TargetSpec":
        if self.share is None and self.max_macs is None and self.max_params is None:
            raise ValueError("a target must name share, max_macs or max_params, got none of them")
        if self.share is not None and self.max_macs is not None:
            raise ValueError("a target must name one of share and max_macs, got both")
        return self


class GrowthSpec(Strict):
    """When, where and how far the network grows. A null takes the data set's default."""

    start: Annotated[
        Width | dict[str, Width] | Literal["auto"] | None,
        Field(
            description="Filters a group starts with: one number, or one per group. auto is 8, or,"
            " with targets, what the first one and a 32nd of the standard cost allow, all alike."
            " One number is then cut to what a group has at the first target."
        ),
    ] = None
    targets: Annotated[
        list[TargetSpec] | None,
        Field(
            max_length=100,
            description="Costs to grow to, rising, a tuned network for each; growth then ends when"
            " all are served. Rounds follow from them and from max_training_macs.",
        ),
    ] = None
    split: Annotated[
        list[Annotated[float, Field(ge=1e-6, le=1e6)]] | None,
        Field(
            max_length=100,
            description="With targets: how the compute is shared out, a number for each. Null: most"
            " to the largest target that it trains well, or a station before one far above that.",
        ),
    ] = None
    hold: Annotated[
        float | None,
        Field(
            ge=0.01,
            le=0.99,
            description="With targets: part of a target's compute at a constant learning rate; in"
            " the rest its network is annealed.",
        ),
    ] = None
    rise: Annotated[
        float | None,
        Field(gt=1, le=10, description="With targets: factor of cost of a round at most."),
    ] = None
    when: Annotated[
        Literal["fill", "plateau", "both"] | None,
        Field(
            description="When groups are due: full ones after a round; all as soon as the"
            " validation loss is at a plateau; or the full ones then. fill with targets."
        ),
    ] = None
    patience: Annotated[
        int | None,
        Field(ge=1, le=1000, description="Epochs without improvement that make a plateau."),
    ] = None
    where: Annotated[
        Literal["auto", "full", "gain", "alike"] | None,
        Field(
            description="Which groups are widened: full ones; of these the three that promise most"
            " for their cost; with targets also all alike, which auto then is."
        ),
    ] = None
    pull: Annotated[
        Annotated[float, Field(gt=0, le=1)] | Literal["auto"] | None,
        Field(description="How strongly twins pull at the weights; auto is 0.1 with targets."),
    ] = None
    new_rate: Annotated[
        float | None,
        Field(gt=0, le=10, description="Factor on the learning rate of filters of the last round."),
    ] = None
    threshold: Annotated[
        Fill | dict[str, Fill] | None,
        Field(description="Fill at which a group is widened: one number, or one per group."),
    ] = None
    round_epochs: Annotated[
        int | None, Field(ge=1, le=1000, description="Epochs between two looks at the fill.")
    ] = None
    max_rounds: Annotated[int | None, Field(ge=1, le=1000)] = None
    schedule: Annotated[
        Literal["constant", "cosine"] | None,
        Field(description="Of the learning rate over all rounds; constant with targets."),
    ] = None
    ratio: Annotated[
        float | None,
        Field(ge=1, le=10, description="A widened group grows at least so many times."),
    ] = None
    minimum: Annotated[
        int | None, Field(ge=1, le=1024, description="A widened group gets at least so many more.")
    ] = None
    multiple: Multiple = None
    min_width: MinWidth = None
    exclude: Exclude = None
    stages: Annotated[dict[str, GrowthStage] | None, Field(max_length=1000, description=STAGES)] = (
        None
    )
    seed: Annotated[
        Literal["auto", "random", "orthogonal", "gradmax", "pairs"] | None,
        Field(description="What new filters start as; auto is pairs with targets, else random."),
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
    max_latency_ms: Latency = None
    max_epochs: Annotated[
        int | None, Field(ge=1, le=1_000_000, description="Of all rounds together.")
    ] = None
    max_seconds: Annotated[
        float | None, Field(gt=0, description="After so long no further round begins.")
    ] = None
    max_training_macs: Annotated[
        int | None,
        Field(
            ge=1,
            le=LARGEST,
            description="3 x forward x images, of the whole run; with targets all of it is spent.",
        ),
    ] = None
