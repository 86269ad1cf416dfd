from pathlib import Path
from typing import Any

import pytest

from worker.training.config import DataConfig, GrowConfig
from worker.training.kinds import KINDS, configured, run
from worker.training.plans import (
    ExportConfig,
    PruneConfig,
    PruningConfig,
    Source,
    TicketConfig,
    TrainConfig,
    TrainingConfig,
    VisualiseConfig,
    WeightsConfig,
)
from worker.training.recipes.conduct import Surroundings
from worker.training.recorder import RunList

LEAST: dict[str, Any] = {"backbone": "vgg11", "data": {"dataset": "digits"}}
SOURCE = Source(checkpoint=Path("model.safetensors"))
CONFIGS: dict[str, tuple[type, dict[str, Any]]] = {
    "grow": (GrowConfig, {}),
    "train": (TrainConfig, {}),
    "weights": (WeightsConfig, {}),
    "ticket": (TicketConfig, {}),
    "prune": (PruneConfig, {"source": SOURCE, "pruning": {"percent": 50}}),
    "visualise": (VisualiseConfig, {"source": SOURCE}),
    "export": (ExportConfig, {"source": SOURCE}),
}


def test_every_kind_is_tried_here() -> None:
    assert set(CONFIGS) == set(KINDS)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_least_that_is_asked_gives_the_kinds_own_defaults(kind: str) -> None:
    config, more = CONFIGS[kind]
    made = {"pruning": PruningConfig(percent=50)} if "pruning" in more else {}
    expected = config(backbone="vgg11", data=DataConfig(dataset="digits"), **{**more, **made})
    assert configured(kind, LEAST | more) == expected
    assert isinstance(configured(kind, LEAST | more), config)


@pytest.mark.parametrize(
    ("kind", "section", "epochs", "schedule"),
    [
        ("train", "train", 60, "drops"),
        ("weights", "train", 60, "drops"),
        ("weights", "finetune", 20, "drops"),
        ("weights", "retrain", 0, "drops"),
        ("ticket", "train", 20, "drops"),
        ("ticket", "retrain", 60, "drops"),
        ("prune", "finetune", 10, "cosine"),
    ],
)
def test_part_of_a_section_is_merged_with_the_kinds_own_defaults(
    kind: str, section: str, epochs: int, schedule: str
) -> None:
    asked = {section: {"learning_rate": 0.5}}
    made = getattr(configured(kind, LEAST | CONFIGS[kind][1] | asked), section)
    assert made == TrainingConfig(epochs=epochs, schedule=schedule, learning_rate=0.5)


def test_weights_are_selected_by_element_whatever_else_their_twin_is_asked() -> None:
    config = configured("weights", LEAST | {"twin": {"threshold": 0.5, "normalised": True}})
    assert (config.twin.structure, config.twin.threshold) == ("element", 0.5)


def test_a_section_that_is_a_config_already_is_taken_as_it_is() -> None:
    training = TrainingConfig(epochs=3)
    assert configured("train", LEAST | {"train": training}).train is training


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        ("shrink", {}, "kind must be one of grow, train, .*, got 'shrink'"),
        ("train", {"growth": {}}, "a field of the config must be one of backbone, .*got growth"),
        ("train", {"train": {"epoch": 3}}, "a field of train must be one of epochs, .*got epoch"),
        ("train", {"train": 3}, "train must be set field by field, got 3"),
        ("train", {"train": {"epochs": "3"}}, "epochs must be a whole number, got '3'"),
        ("train", {"train": {"drops": 3}}, "values of train must be of the type of their field"),
        ("train", {"twin": {"threshold": "low"}}, "values of twin must be of the type of their"),
        ("prune", {"source": SOURCE}, "values of the config must be .* 'pruning'"),
        ("weights", {"twin": {"structure": "mixed"}}, "must be 'element' for weights, got 'mixed'"),
    ],
)
def test_what_does_not_exist_or_fit_is_refused_by_its_name(
    kind: str, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        configured(kind, LEAST | settings)


def test_a_config_of_no_kind_is_no_run(tmp_path: Path) -> None:
    around = Surroundings(directories=[], output=tmp_path, recorder=RunList())
    with pytest.raises(TypeError, match=r"of a kind of grow, train, .*, got DataConfig"):
        run(DataConfig(dataset="digits"), around)
