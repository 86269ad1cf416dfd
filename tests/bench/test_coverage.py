import json
from pathlib import Path

import pytest

from bench.coverage import memory, rows
from bench.coverage.command import main
from bench.coverage.peer import PeerRow, tried

ROOT = Path(__file__).parents[2]


def test_a_network_comes_through_every_column(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    assert main(["--only", "squeezenet1_1", "--into", str(file)]) == 0
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("| squeezenet1_1"))
    assert "52/52 | equal" in line
    assert "1 of 1 networks, every column" in printed
    row = json.loads(file.read_text())
    assert row["failed"] == []
    assert 0 <= row["onnx"] < 1e-4
    assert main(["--show", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "1 of 1 networks, every column" in shown
    assert line.removesuffix(" |") in shown


def test_a_network_that_fails_is_named_with_its_column(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "no_such_network"]) == 1
    assert "no_such_network: ValueError: Unknown model" in capsys.readouterr().out


@pytest.mark.slow
def test_torch_pruning_is_tried_on_the_same_network_and_its_optimizer_is_looked_at() -> None:
    row = tried("squeezenet1_1", 64)
    assert row.failed is None
    assert row.forward
    assert row.params_before is not None
    assert row.params_after is not None
    assert row.params_after < 0.7 * row.params_before
    assert row.known is not None
    assert row.tensors == 52
    assert row.known < 52


@pytest.mark.slow
def test_what_fails_there_is_a_reason_in_the_table_and_no_failure_of_ours() -> None:
    row = tried("shufflenet_v2_x0_5", 64)
    assert row.failed == "ZeroDivisionError: integer division or modulo by zero"
    assert row.failed in rows.line(row)


def test_the_last_row_of_a_network_counts(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows.kept(file, PeerRow(model="a", failed="no end"))
    rows.kept(file, PeerRow(model="a", params_before=4, params_after=2, known=1, tensors=3))
    (row,) = rows.read(file).values()
    assert row["params_after"] == 2
    assert "Torch-Pruning: 1 of 1 networks" in rows.summary(rows.read(file))
    assert "| pruned | 0.50 | - | 1/3 |" in rows.table(rows.read(file))


def test_what_the_documents_show_is_what_was_kept() -> None:
    kept = rows.read(ROOT / "bench/results/coverage.jsonl")
    shown = (rows.table(kept), rows.summary(kept))
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    assert all(part in page for part in shown)
    table = (ROOT / "bench/results/coverage.md").read_text(encoding="utf-8")
    assert table == "\n\n".join(shown) + "\n"


def test_memory_is_counted_from_where_it_was_forgotten() -> None:
    memory.forget_peak()
    before = memory.peak_mb()
    if before is None:
        pytest.skip("this system keeps no mark")
    held = bytearray(200 * 10**6)
    held[::4096] = b"x" * len(held[::4096])
    del held
    after = memory.peak_mb()
    assert after is not None
    assert 150 < after - before < 400
    memory.forget_peak()
    again = memory.peak_mb()
    assert again is not None
    assert again < after - 100
