import json
from pathlib import Path
from typing import Any

import pytest

from slbi.structure.path import GrowthRecord, LayerRecord, StepRecord, SupportRecord
from worker.training.recorder import FileRecord, ModelRecord, ProgressRecord, TestRecord
from worker.training.report import Reporter

SUPPORT = SupportRecord(layer=0, n_filters=8, n_active=4, bits=b"\xf0")


@pytest.fixture
def told(tmp_path: Path) -> list[tuple[str, Any]]:
    """What a reporter tells of one record of every type."""
    kept: list[tuple[str, Any]] = []
    reporter = Reporter(lambda kind, data: kept.append((kind, data)))
    reporter.layers([LayerRecord(index=0, name="conv1", kind="conv", growable=True)])
    reporter.step(
        StepRecord(
            step=3,
            epoch=1,
            round=0,
            phase="grow",
            loss=1.0,
            train_accuracy=0.5,
            validation_accuracy=0.5,
            learning_rate=0.1,
            params=1,
            macs=1,
            seconds=1.0,
            support=(SUPPORT,),
        )
    )
    reporter.growth(
        [
            GrowthRecord(
                step=3,
                round=0,
                layer=0,
                before=8,
                after=16,
                fill=1.0,
                threshold=0.8,
                reason="fill 1.00 reached 0.80",
            )
        ]
    )
    reporter.progress(
        ProgressRecord(
            epoch=1,
            epochs=2,
            round=0,
            phase="grow",
            validation_accuracy=0.5,
            widths={"conv1": 8},
            eta_seconds=1.0,
        )
    )
    reporter.model(
        ModelRecord(
            step=3,
            round=0,
            kind="grown",
            origin="round 0",
            widths={"conv1": 8},
            params=1,
            macs=1,
            validation_accuracy=0.5,
            latency_ms=0.1,
            checkpoint=Path("grown/a.safetensors"),
        )
    )
    reporter.tested((TestRecord(model=0, accuracy=0.5),))
    path = tmp_path / "000-a.csv"
    path.write_bytes(b"a,b")
    reporter.file(FileRecord(title="a.csv", kind="table", format="csv", step=0, path=path))
    reporter.findings({"best": 1})
    return kept


def test_every_record_is_told_once_in_order_as_json_can_say_it(
    told: list[tuple[str, Any]],
) -> None:
    assert [kind for kind, _ in told] == [
        "layers", "step", "grew", "progress", "model", "tested", "file", "findings",
    ]  # fmt: skip
    assert json.loads(json.dumps(told)) == [list(row) for row in told]


def test_a_support_is_told_in_hex(told: list[tuple[str, Any]]) -> None:
    assert told[1][1]["support"] == [{"layer": 0, "n_filters": 8, "n_active": 4, "bits": "f0"}]


def test_a_file_is_told_with_its_place_and_size(told: list[tuple[str, Any]]) -> None:
    data = told[6][1]
    assert (data["title"], data["bytes"]) == ("a.csv", 3)
    assert data["path"].endswith("000-a.csv")


def test_what_grew_goes_by_its_name(told: list[tuple[str, Any]]) -> None:
    grew = told[2][1]
    assert (grew["step"], grew["round"]) == (3, 0)
    assert grew["layers"][0]["layer"] == "conv1"
    assert grew["layers"][0]["after"] == 16
