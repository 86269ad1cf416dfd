"""Every value of a plan that is out of its range is refused by its name."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worker.training.config import DataConfig
from worker.training.plans import (
    MaskConfig,
    PicturesConfig,
    PruneConfig,
    PruningConfig,
    Source,
    TicketConfig,
    TrainConfig,
    TrainingConfig,
    TwinConfig,
    VisualiseConfig,
    WeightsConfig,
)

SAME: dict[str, Any] = {"backbone": "vgg11", "data": DataConfig(dataset="digits")}


@pytest.mark.parametrize(
    ("config", "values", "told"),
    [
        (TwinConfig, {"structure": "column"}, "twin structure must be one of filter, mixed, elem"),
        (TwinConfig, {"threshold": 0}, r"twin threshold must be in \(0, "),
        (TwinConfig, {"threshold": 1.1e6}, "twin threshold must be in"),
        (TwinConfig, {"threshold": math.nan}, "twin threshold must be in"),
        (TwinConfig, {"scaling": "root"}, "twin scaling must be one of none, fan, initial"),
        (TwinConfig, {"normalised": True}, "normalised needs twin structure 'element', got 'fil"),
        (TrainingConfig, {"epochs": -1}, r"epochs must be in \[0, 10000\], got -1"),
        (TrainingConfig, {"epochs": 10001}, "epochs must be in"),
        (TrainingConfig, {"epochs": 1.5}, "epochs must be a whole number"),
        (TrainingConfig, {"epochs": True}, "epochs must be a whole number"),
        (TrainingConfig, {"epochs": 1, "learning_rate": 0}, "learning_rate must be in"),
        (TrainingConfig, {"epochs": 1, "learning_rate": 10.1}, "learning_rate must be in"),
        (TrainingConfig, {"epochs": 1, "schedule": "step"}, "schedule must be one of constant"),
        (TrainingConfig, {"epochs": 1, "factor": 0}, "factor must be in"),
        (TrainingConfig, {"epochs": 1, "factor": 1}, "factor must be in"),
        (TrainingConfig, {"epochs": 1, "drops": [1, 0]}, r"drops must be in \[1, 10000\], got 0"),
        (TrainingConfig, {"epochs": 1, "drops": [2.5]}, "drops must be a whole number, got 2.5"),
        (MaskConfig, {"epoch": 0}, "mask epoch must be in"),
        (MaskConfig, {"epoch": "never"}, "mask epoch must be a whole number, got 'never'"),
        (MaskConfig, {"stable": 0}, "mask stable must be in"),
        (MaskConfig, {"stable": 1.01}, "mask stable must be in"),
        (MaskConfig, {"patience": 0}, "mask patience must be in"),
        (MaskConfig, {"patience": 101}, "mask patience must be in"),
        (MaskConfig, {"rewind": -1}, "mask rewind must be in"),
        (MaskConfig, {"epoch": 2, "rewind": 3}, "mask rewind must be at most mask epoch 2, got 3"),
        (PruningConfig, {"order": "entry", "percent": 5}, "pruning order must be one of mixed"),
        (PruningConfig, {"percent": 101}, "percent must be in"),
        (PruningConfig, {"percent": -0.1}, "percent must be in"),
        (PruningConfig, {"percent": math.nan}, "percent must be in"),
        (PruningConfig, {"percent": {"conv1": 5, "conv2": 200}}, r"percent.conv2 must be in"),
        (PruningConfig, {"percent": {}}, "percent must name one group or weight or more"),
        (PruningConfig, {"max_macs": 0}, "max_macs must be >= 1, got 0"),
        (PruningConfig, {"max_params": 0.5}, "max_params must be a whole number"),
        (PruningConfig, {}, "pruning needs either percent, or max_macs .* got none"),
        (PruningConfig, {"percent": 5, "max_macs": 5}, "pruning needs either .* got several"),
        (PicturesConfig, {"show": ["weights", "faces"]}, "show must be one of weights, .*'faces'"),
        (PicturesConfig, {"filters": 0}, "filters must be in"),
        (PicturesConfig, {"filters": 513}, "filters must be in"),
        (PicturesConfig, {"steps": 0}, "steps must be in"),
        (PicturesConfig, {"steps": 10001}, "steps must be in"),
        (PicturesConfig, {"learning_rate": 0}, "learning_rate must be in"),
        (PicturesConfig, {"learning_rate": 1001}, "learning_rate must be in"),
    ],
)
def test_a_value_out_of_its_range_is_refused_by_its_name(
    config: Callable[..., object], values: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        config(**values)


NONE = TrainingConfig(epochs=0)


@pytest.mark.parametrize("config", [TrainConfig, WeightsConfig, TicketConfig])
@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"widths": 0}, r"widths must be in \[1, 4096\], got 0"),
        ({"widths": 4097}, "widths must be in"),
        ({"widths": {"conv1": 4, "conv2": 0}}, "widths.conv2 must be in"),
        ({"widths": {"conv1": None}}, "widths.conv1 must be a whole number, got None"),
        ({"train": NONE}, "epochs of train must be >= 1, got 0"),
    ],
)
def test_a_run_with_initial_weights_needs_widths_and_epochs_of_training(
    config: Callable[..., object], values: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        config(**SAME, **values)


@pytest.mark.parametrize(
    ("config", "values", "told"),
    [
        (WeightsConfig, {"twin": TwinConfig()}, "must be 'element' for weights, got 'filter'"),
        (TicketConfig, {"retrain": NONE}, "epochs of retrain must be >= 1"),
        (
            TicketConfig,
            {"mask": MaskConfig(epoch=21)},
            "mask epoch must be at most the 20 epochs of train, got 21",
        ),
        (
            TicketConfig,
            {"mask": MaskConfig(rewind=21)},
            "mask rewind must be at most the 20 epochs of train, got 21",
        ),
        (TicketConfig, {"rivals": ["random", "lazy"]}, "rivals must be one of random, dense"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    config: Callable[..., object], values: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        config(**SAME, **values)


def test_the_bounds_themselves_are_allowed() -> None:
    TwinConfig(threshold=1e6)
    TrainingConfig(epochs=10000, learning_rate=10, factor=0.9999, drops=(1, 10000))
    MaskConfig(epoch=1, stable=1, patience=100, rewind=1)
    PruningConfig(percent={"conv1": 0, "conv2": 100})
    PruningConfig(max_macs=1, max_params=1)
    PicturesConfig(filters=512, steps=10000, learning_rate=1000, show=["order"])
    TrainConfig(**SAME, widths={"conv1": 1, "conv2": 4096})
    source = Source(checkpoint=Path("model.safetensors"))
    PruneConfig(**SAME, source=source, pruning=PruningConfig(percent=50), finetune=NONE)
    VisualiseConfig(**SAME, source=source)
