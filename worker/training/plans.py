"""What a run of each kind but `grow` is given. See `worker.training.config` for what they share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from slbi.structure.path import PathList
from worker.training.config import STEMS, ComputeConfig, DataConfig, OptimConfig
from worker.training.groups import Stages, check_by_group
from worker.training.ranges import one_of, whole, within

STRUCTURES = ("filter", "mixed", "element")
SCALINGS = ("none", "fan", "initial")
SCHEDULES = ("constant", "drops", "cosine")
ORDERS = ("mixed", "lexicographic", "norm")
RIVALS = ("random", "dense")
STARTS = ("source", "initial")
PRUNING_BY_STAGE = ("percent", "min_width")
"""What a stage of `pruning.stages` may set."""
EXPORTS = ("onnx", "pt2", "torch", "card")
PICTURES = ("weights", "activation", "kept", "support", "order")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A finished model that a run starts from."""

    checkpoint: Path
    """A file that `worker.training.checkpoint` wrote, or one that holds tensors alone."""
    order: Path | None = None
    """A file with the entry order of single weights, where there is one."""
    local: bool = False
    """Whether the file belongs to who runs this: then one that torch wrote, .pth, is read too."""
    path: PathList | None = None
    """The structure path of the run that made it, where there is one."""
    test_accuracy: float | None = None
    """Of the model, 0 to 1, where that run read the test split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TwinConfig:
    """Which weights have a sparse twin, and what it takes to enter its support."""

    structure: str = "filter"
    """What enters as one. filter: the filters of every group but the classifier. mixed: those of
    convolutions, and single weights of linear layers. element: single weights of all layers."""
    threshold: float = 0.7
    """Norm of Z above which a filter enters, (0, 1e6]. Z of one that the loss does not hold up
    stays below its initial norm."""
    weight_threshold: float = 2.0
    """Size of Z above which a single weight enters, (0, 1e6]: few begin beyond two deviations."""
    scaling: str = "initial"
    """What the threshold is multiplied with. none: 1. fan: the root of a filter's weights. initial:
    the mean norm with which a layer's filters begin, or the root mean square of its weights."""
    normalised: bool = False
    """The normalised variant; it needs structure element. Its Z moves by a hundredth at most of
    what it moves by else, so that 0.01 of a threshold is what the whole is else."""

    def __post_init__(self) -> None:
        one_of("twin structure", self.structure, STRUCTURES)
        within("twin threshold", self.threshold, 0, 1e6, above=True)
        within("twin weight_threshold", self.weight_threshold, 0, 1e6, above=True)
        one_of("twin scaling", self.scaling, SCALINGS)
        if self.normalised and self.structure != "element":
            raise ValueError(f"normalised needs twin structure 'element', got {self.structure!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How long something is trained, and how its learning rate falls."""

    epochs: int
    """0 to 10000; 0 leaves it out."""
    learning_rate: float | None = None
    """At the beginning, (0, 10]; None: that of the optimizer."""
    schedule: str = "drops"
    """constant, drops (times `factor` at each of `drops`) or cosine to zero."""
    drops: Sequence[int] = ()
    """Epochs that begin with a drop, counted from 0, 1 or more."""
    factor: float = 0.1
    """(0, 1)."""

    def __post_init__(self) -> None:
        whole("epochs", self.epochs, 0, 10000)
        if self.learning_rate is not None:
            within("learning_rate", self.learning_rate, 0, 10, above=True)
        one_of("schedule", self.schedule, SCHEDULES)
        within("factor", self.factor, 0, 0.9999, above=True)
        for drop in self.drops:
            whole("drops", drop, 1, 10000)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """A whole `train` run: a network of fixed widths, its structure found by SLBI."""

    backbone: str
    data: DataConfig
    stem: str = "auto"
    """As for `GrowConfig`."""
    widths: int | Mapping[str, int] | None = None
    """Filters of every group, one number for all or one per group, 1 to 4096; None: standard."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    twin: TwinConfig = field(default_factory=TwinConfig)
    train: TrainingConfig = field(default_factory=lambda: TrainingConfig(epochs=60))
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def __post_init__(self) -> None:
        one_of("stem", self.stem, STEMS)
        _check_widths(self.widths)
        _needs_epochs("train", self.train)


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsConfig:
    """A whole `weights` run: single weights are selected, then what is left is trained."""

    backbone: str
    data: DataConfig
    stem: str = "auto"
    """As for `GrowConfig`."""
    widths: int | Mapping[str, int] | None = None
    """As for `TrainConfig`."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    twin: TwinConfig = field(default_factory=lambda: TwinConfig(structure="element"))
    train: TrainingConfig = field(default_factory=lambda: TrainingConfig(epochs=60))
    finetune: TrainingConfig = field(default_factory=lambda: TrainingConfig(epochs=20))
    """Of the trained weights under their mask."""
    retrain: TrainingConfig = field(default_factory=lambda: TrainingConfig(epochs=0))
    """Of the initial weights under the same mask."""
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def __post_init__(self) -> None:
        one_of("stem", self.stem, STEMS)
        _check_widths(self.widths)
        _needs_epochs("train", self.train)
        if self.twin.structure != "element":
            raise ValueError(
                f"twin structure must be 'element' for weights, got {self.twin.structure!r}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskConfig:
    """From which epoch a ticket takes its mask, and to which its weights go back."""

    epoch: int | Literal["auto"] = "auto"
    """After so many epochs, 1 or more; auto: as soon as the mask is stable."""
    stable: float = 0.95
    """Overlap of the masks of two epochs, their intersection over their union, (0, 1]."""
    patience: int = 2
    """So many overlaps in a row must reach `stable`, 1 to 100."""
    rewind: int = 0
    """The weights go back to where they were after so many epochs, 0 to 10000; 0: the initial."""

    def __post_init__(self) -> None:
        if self.epoch != "auto":
            whole("mask epoch", self.epoch, 1, 10000)
        within("mask stable", self.stable, 0, 1, above=True)
        whole("mask patience", self.patience, 1, 100)
        whole("mask rewind", self.rewind, 0, 10000)
        if self.epoch != "auto" and self.rewind > self.epoch:
            raise ValueError(
                f"mask rewind must be at most mask epoch {self.epoch}, got {self.rewind}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketConfig:
    """A whole `ticket` run: an early mask, trained from the start, against its rivals."""

    backbone: str
    data: DataConfig
    stem: str = "auto"
    """As for `GrowConfig`."""
    widths: int | Mapping[str, int] | None = None
    """As for `TrainConfig`."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    twin: TwinConfig = field(default_factory=TwinConfig)
    train: TrainingConfig = field(default_factory=lambda: TrainingConfig(epochs=20))
    """Of the search for the mask; it ends where the mask is taken."""
    mask: MaskConfig = field(default_factory=MaskConfig)
    retrain: TrainingConfig = field(default_factory=lambda: TrainingConfig(epochs=60))
    """Of the ticket, and of each rival alike."""
    rivals: Sequence[str] = RIVALS
    """What the ticket is compared with. random: the same mask over new random weights. dense: no
    mask, the same weights."""
    transfer_to: str | None = None
    """A second data set, of images of the same shape, on which all of it is retrained as well."""
    source: Source | None = None
    """A finished model in which the mask is searched for, instead of in initial weights; its widths
    are the network's."""
    start: Literal["source", "initial"] | None = None
    """To what a rewind of 0 goes back where there is a source: to its weights, or to initial ones
    that no training has seen; None: to its weights."""
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def __post_init__(self) -> None:
        one_of("stem", self.stem, STEMS)
        _check_widths(self.widths)
        _needs_epochs("train", self.train)
        _needs_epochs("retrain", self.retrain)
        if self.mask.epoch != "auto" and self.mask.epoch > self.train.epochs:
            raise ValueError(
                f"mask epoch must be at most the {self.train.epochs} epochs of train, "
                f"got {self.mask.epoch}"
            )
        if self.mask.rewind > self.train.epochs:
            raise ValueError(
                f"mask rewind must be at most the {self.train.epochs} epochs of train, "
                f"got {self.mask.rewind}"
            )
        for rival in self.rivals:
            one_of("rivals", rival, RIVALS)
        self._check_source()

    def _check_source(self) -> None:
        if self.start is not None:
            one_of("start", self.start, STARTS)
            if self.source is None:
                raise ValueError(f"start needs a source, got {self.start!r} without one")
        if self.source is not None and self.widths is not None:
            raise ValueError(f"widths must be those of the source, got {self.widths!r}")
        if self.start == "initial" and self.mask.rewind:
            raise ValueError(
                f"mask rewind must be 0 where the ticket starts from initial weights, "
                f"got {self.mask.rewind}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class PruningConfig:
    """What is pruned, by which order, and how much of it."""

    order: str = "mixed"
    """mixed: norm less first epoch in the support. lexicographic: the epoch, then the norm. norm:
    the norm alone."""
    percent: float | Mapping[str, float] | None = None
    """Share of the filters of a group that goes, percent, [0, 100]: one number for all groups, or
    one per group or linear weight; those not named stay whole."""
    max_macs: int | None = None
    """Or: until an image takes no more multiply-accumulates, over all groups by one order."""
    max_params: int | None = None
    """Or: until there are no more parameters."""
    max_latency_ms: float | None = None
    """Or: until an image takes no longer on the device and the threads of the run, ms, above 0; it
    is measured, and met within 5 percent where the widths allow it."""
    multiple: int = 1
    """Widths are rounded up to a multiple of this, 1 to 256."""
    min_width: int | Mapping[str, int] = 1
    """Filters that a group keeps at least, 1 to 65536: one number for all or one per group."""
    exclude: Sequence[str] = ()
    """Groups, by name or pattern (`stage1.*`), of which nothing goes."""
    stages: Stages | None = None
    """Name or pattern of groups -> what they share of `PRUNING_BY_STAGE`. What names a single group
    comes first, in a table or here, then its pattern, then what holds for all."""
    bias: bool = True
    """Prune a filter's bias and the scale and shift of its norm too: it then emits nothing."""
    slice: bool = True
    """Remove pruned filters physically; else they are zero, and stay zero."""

    def __post_init__(self) -> None:
        one_of("pruning order", self.order, ORDERS)
        self._check_percent()
        for name in ("max_macs", "max_params"):
            cap: int | None = getattr(self, name)
            if cap is not None:
                whole(name, cap, 1)
        if self.max_latency_ms is not None:
            within("max_latency_ms", self.max_latency_ms, 0, 1e6, above=True)
            if not self.slice:
                raise ValueError("max_latency_ms needs slice: a filter of zeros takes its time")
        whole("multiple", self.multiple, 1, 256)
        check_by_group(self, PRUNING_BY_STAGE)
        budget = self.max_macs is not None or self.max_params is not None
        staged = any("percent" in stage for stage in (self.stages or {}).values())
        ways = [self.percent is not None or staged, budget, self.max_latency_ms is not None]
        if sum(ways) != 1:
            raise ValueError(
                "pruning needs either percent, or max_macs and max_params or one of them, or "
                f"max_latency_ms, got {'several' if any(ways) else 'none'}"
            )

    def _check_percent(self) -> None:
        if self.percent is None:
            return
        table = self.percent if isinstance(self.percent, Mapping) else {"": self.percent}
        if not table:
            raise ValueError("percent must name one group or weight or more, got none")
        for name, percent in table.items():
            within(f"percent{name and '.' + name}", percent, 0, 100)


@dataclass(frozen=True, kw_only=True, slots=True)
class PruneConfig:
    """A whole `prune` run."""

    source: Source
    backbone: str
    data: DataConfig
    stem: str = "auto"
    """As for `GrowConfig`; a source that describes itself tells it."""
    pruning: PruningConfig
    optim: OptimConfig = field(default_factory=OptimConfig)
    finetune: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(epochs=10, schedule="cosine")
    )
    """Of what is left, its mask kept where it was not sliced."""
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def __post_init__(self) -> None:
        one_of("stem", self.stem, STEMS)


@dataclass(frozen=True, kw_only=True, slots=True)
class PicturesConfig:
    """Which pictures are made, of what."""

    layers: Sequence[str] | None = None
    """Names of modules; None: every convolution."""
    show: Sequence[str] | None = None
    """Which of `PICTURES`; None: all that the source allows."""
    filters: int = 64
    """Filters of a layer that are shown at most, 1 to 512."""
    steps: int = 150
    """Steps of the ascent that looks for what a filter answers to most, 1 to 10000."""
    learning_rate: float = 10.0
    """Of that ascent, in steps of a pixel, (0, 1000]."""

    def __post_init__(self) -> None:
        for show in self.show or ():
            one_of("show", show, PICTURES)
        whole("filters", self.filters, 1, 512)
        whole("steps", self.steps, 1, 10000)
        within("learning_rate", self.learning_rate, 0, 1000, above=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class VisualiseConfig:
    """A whole `visualise` run."""

    source: Source
    backbone: str
    data: DataConfig
    stem: str = "auto"
    """As for `GrowConfig`; a source that describes itself tells it."""
    pictures: PicturesConfig = field(default_factory=PicturesConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def __post_init__(self) -> None:
        one_of("stem", self.stem, STEMS)


@dataclass(frozen=True, kw_only=True, slots=True)
class FormatsConfig:
    """In which formats a network is handed over."""

    formats: Sequence[str] | None = None
    """Which of `EXPORTS`; None: all. A card is written in any case."""
    check: bool = True
    """Run every file on images of the test split, and fail where it predicts something else."""

    def __post_init__(self) -> None:
        for name in self.formats or ():
            one_of("formats", name, EXPORTS)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportConfig:
    """A whole `export` run."""

    source: Source
    backbone: str
    data: DataConfig
    stem: str = "auto"
    """As for `GrowConfig`; a source that describes itself tells it."""
    export: FormatsConfig = field(default_factory=FormatsConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def __post_init__(self) -> None:
        one_of("stem", self.stem, STEMS)


def _check_widths(widths: int | Mapping[str, int] | None) -> None:
    if widths is None:
        return
    table = widths if isinstance(widths, Mapping) else {"": widths}
    for group, width in table.items():
        whole(f"widths{group and '.' + group}", width, 1, 4096)


def _needs_epochs(section: str, training: TrainingConfig) -> None:
    whole(f"epochs of {section}", training.epochs, 1)
