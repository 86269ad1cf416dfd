import re
from pathlib import Path

import pytest

from bench.family import rows
from bench.family.command import main

ASKED = ["--dataset", "digits", "--compute", "2e8", "--only", "uniform-epochs"]


def test_a_finished_method_is_a_row_and_is_not_run_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    assert main([*ASKED, "--seeds", "1", "--into", str(file)]) == 0
    (row,) = rows.read(file)
    assert (row.method, row.dataset, row.backbone, row.seed) == (
        "uniform-epochs", "digits", "small-vgg", 0,
    )  # fmt: skip
    assert sum(row.runs) <= row.compute == 200_000_000
    assert re.fullmatch(r"\w+, torch [\w.+]+(, start [0-9a-f]{8})?", row.machine)
    assert [member.budget for member in row.members] == [0.02, 0.05, 0.12, 0.25, 0.5]
    assert "uniform-epochs seed 0" in capsys.readouterr().out
    kept = file.read_text()
    assert main([*ASKED, "--seeds", "1", "--into", str(file)]) == 0
    assert capsys.readouterr().out == ""
    assert file.read_text() == kept
    assert main([*ASKED, "--seeds", "2", "--into", str(file)]) == 0
    assert [row.seed for row in rows.read(file)] == [0, 1]


def test_other_images_are_another_row(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    for count in ("300", "400"):
        asked = [*ASKED, "--seeds", "1", "--images", count, "--into", str(file)]
        assert main(asked) == 0
    assert [row.images for row in rows.read(file)] == [300, 400]
