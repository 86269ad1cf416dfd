from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from worker.training.command import run
from worker.training.epoch import DivergedError
from worker.training.recipes.budget import BACKWARD

QUICK = {
    "dataset": "digits",
    "backbone": "vgg11",
    "optim": {"batch": 256},
    "growth": {"max_rounds": 1, "round_epochs": 1},
    "tune": {"epochs": 1, "pruned_epochs": 0},
    "compute": {"threads": 1},
}


def _run(spec: Mapping[str, Any], output: Path) -> list[tuple[str, Any]]:
    told: list[tuple[str, Any]] = []
    run(
        "grow",
        spec,
        directories=(),
        output=output,
        report=lambda kind, data: told.append((kind, data)),
    )
    return told


def test_a_run_reports_its_path_its_family_and_its_end(tmp_path: Path) -> None:
    told = _run(QUICK, tmp_path)
    kinds = [kind for kind, _ in told]
    assert (kinds[0], kinds[-1]) == ("layers", "succeeded")
    assert kinds.count("step") == kinds.count("progress") == 2
    files = [Path(data["checkpoint"]) for kind, data in told if kind == "model"]
    assert sorted(files) == sorted(tmp_path.glob("*.safetensors"))
    (tested,) = [data["models"] for kind, data in told if kind == "tested"]
    assert [row["model"] for row in tested] == list(range(len(files)))
    step = next(data for kind, data in told if kind == "step")
    assert told[-1][1]["end"] == "max_rounds: 1 rounds are done"
    assert told[-1][1]["training_macs"] > BACKWARD * step["macs"] * 256


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"backbone": "vgg7"}, "backbone must be one of"),
        ({"dataset": "nowhere"}, "data set 'nowhere' must be in a data directory"),
        ({"growth": {"start": 0}}, "start must be in"),
        ({"growth": {"none": 1}}, "a field of growth must be one of"),
        ({"growth": 3}, "growth must be set field by field"),
        ({"label": {}}, "a section of the config must be one of"),
    ],
)
def test_an_invalid_spec_is_refused(changed: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        _run({**QUICK, **changed}, tmp_path)


def test_a_diverging_run_says_what_to_lower(tmp_path: Path) -> None:
    wild = {"batch": 32, "learning_rate": 10, "kappa": 1000}
    with pytest.raises(DivergedError, match="lower learning_rate"):
        _run({**QUICK, "optim": wild}, tmp_path)
