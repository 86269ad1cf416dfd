import json
from pathlib import Path
from typing import Any

import pytest

from service.cli.family import describe, print_answer, print_family


def _file(path: Path, header: object) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(64))
    return path


def test_a_description_is_read_from_the_header(tmp_path: Path) -> None:
    described = {"backbone": "vgg11", "widths": {"conv1": 8}}
    header = {
        "__metadata__": {"slbi": json.dumps(described)},
        "w": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]},
    }
    assert describe(_file(tmp_path / "net.safetensors", header)) == described


@pytest.mark.parametrize("header", [{}, {"__metadata__": {}}, {"__metadata__": {"slbi": "{"}}])
def test_a_header_without_a_description_is_refused(tmp_path: Path, header: object) -> None:
    with pytest.raises(ValueError, match="must carry a description"):
        describe(_file(tmp_path / "net.safetensors", header))


def test_a_file_of_another_kind_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "net.zip").write_bytes(b"PK\x03\x04" + b"\xff" * 100)
    for file in (tmp_path / "net.zip", _file(tmp_path / "net.safetensors", [])):
        with pytest.raises(ValueError, match="must be a safetensors file"):
            describe(file)


_MODEL: dict[str, Any] = {
    "id": "a", "origin": "round 0", "kind": "grown", "macs": 100, "params": 10,
    "validation_accuracy": 0.5, "test_accuracy": None, "latency_ms": None,
    "widths": {"conv1": 8}, "artifact": {"bytes": 1200},
}  # fmt: skip


def test_the_one_to_take_has_a_star_and_its_reason_stands_below(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_answer(
        {
            "items": [_MODEL, {**_MODEL, "id": "b", "origin": "round 1"}],
            "chosen": {"model": "b", "reason": "It is the best."},
            "nearest": None,
            "front": {"measures": ["latency", "macs"], "left_out": ["a", "b"]},
            "ended": False,
        }
    )
    head, first, second, reason, left_out, more = capsys.readouterr().out.splitlines()
    assert "bytes" in head
    assert "1.2 k" in first
    assert first.startswith(" ")
    assert second.startswith("*")
    assert reason == "It is the best."
    assert left_out.startswith("2 of what fits are on no front of latency and macs")
    assert more == "The job has not ended: models may be added."


def test_a_family_of_a_local_run_has_no_files_to_count(capsys: pytest.CaptureFixture[str]) -> None:
    print_family(
        [{name: value for name, value in _MODEL.items() if name not in {"id", "artifact"}}]
    )
    assert "bytes" not in capsys.readouterr().out
