from typing import Any

import pytest

from worker.training.config import (
    ComputeConfig,
    DataConfig,
    GrowthConfig,
    OptimConfig,
    TuneConfig,
)

BOUNDS: list[tuple[type, str, list[Any], list[Any]]] = [
    (DataConfig, "validation", [0.01, 0.5], [0.0, 0.51, -1]),
    (DataConfig, "image_size", [None, 8, 224], [7, 225, 8.5]),
    (OptimConfig, "batch", [2, 8192], [1, 8193, 32.5]),
    (OptimConfig, "learning_rate", [1e-6, 10], [0, -1, 11, float("nan")]),
    (OptimConfig, "momentum", [0.0, 0.99], [-0.1, 1.0]),
    (OptimConfig, "weight_decay", [0, 1], [-1e-9, 1.1]),
    (OptimConfig, "kappa", [0.1, 1000], [0, 1001]),
    (OptimConfig, "mu", ["auto", 0.1, 1e6], [0, 1e7]),
    (GrowthConfig, "start", [1, 4096, {"conv1": 8}], [0, 4097, 8.5, True, {"conv1": 0}]),
    (GrowthConfig, "threshold", [0.1, 1.0, {"conv1": 0.5}], [0, 1.1, {"conv1": 2}]),
    (GrowthConfig, "round_epochs", [1, 1000], [0, 1001, 1.5]),
    (GrowthConfig, "max_rounds", [1, 1000], [0, 1001, 1.5]),
    (GrowthConfig, "when", ["fill", "plateau", "both"], ["full"]),
    (GrowthConfig, "patience", [1, 1000], [0, 1001, 1.5]),
    (GrowthConfig, "new_rate", [1e-3, 1, 10], [0, -1.0, 11, float("nan")]),
    (GrowthConfig, "schedule", ["constant", "cosine"], ["step"]),
    (GrowthConfig, "ratio", [1, 10], [0.9, 11]),
    (GrowthConfig, "minimum", [1, 1024], [0, 1025, 2.5]),
    (GrowthConfig, "multiple", [1, 256], [0, 257, 2.5]),
    (GrowthConfig, "seed", ["random", "orthogonal", "gradmax"], ["zero"]),
    (GrowthConfig, "mode", ["carry", "restart"], ["copy"]),
    (GrowthConfig, "max_width", [None, 1, 65536], [0, 65537, 9.5]),
    (GrowthConfig, "max_params", [None, 1], [0, 1.5]),
    (GrowthConfig, "max_macs", [None, 1], [0]),
    (GrowthConfig, "max_latency_ms", [None, 0.01, 1e6], [0, -1.0, 2e6]),
    (GrowthConfig, "max_epochs", [None, 1], [0]),
    (GrowthConfig, "max_seconds", [None, 0.1], [0, -1.0, float("nan")]),
    (GrowthConfig, "max_training_macs", [None, 1], [0]),
    (TuneConfig, "epochs", [0, 10000], [-1, 10001]),
    (TuneConfig, "schedule", ["cosine", "step", "constant"], ["linear"]),
    (TuneConfig, "pruned_epochs", [0, 10000], [-1, 10001]),
    (ComputeConfig, "device", ["auto", "cpu", "cuda"], ["tpu"]),
    (ComputeConfig, "precision", ["auto", "float32", "bfloat16"], ["int8"]),
    (ComputeConfig, "seed", [0, 2**63 - 1], [-1, 2**63]),
    (ComputeConfig, "threads", [None, 1, 1024], [0, 1025, 1.5]),
]


def _made(section: type, name: str, value: object) -> object:
    given = {"dataset": "digits"} if section is DataConfig else {}
    return getattr(section(**given, **{name: value}), name)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [(section, name, value) for section, name, good, _ in BOUNDS for value in good],
)
def test_a_value_on_its_bound_is_taken(section: type, name: str, value: object) -> None:
    assert _made(section, name, value) == value


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [(section, name, value) for section, name, _, bad in BOUNDS for value in bad],
)
def test_a_value_beyond_its_bound_is_refused_by_the_name_of_its_field(
    section: type, name: str, value: object
) -> None:
    with pytest.raises(ValueError, match=name) as refusal:
        _made(section, name, value)
    shown = next(iter(value.values())) if isinstance(value, dict) else value
    assert repr(shown) in str(refusal.value)


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ValueError, match="nesterov needs a momentum above 0"):
        OptimConfig(nesterov=True, momentum=0.0)
