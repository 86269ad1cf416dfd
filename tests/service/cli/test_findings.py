from pathlib import Path
from typing import Any

import pytest

from service.cli.findings import print_findings
from service.cli.notes import Notes

TICKET: dict[str, Any] = {
    "mask_epoch": 3,
    "mask_chosen": "stable",
    "overlaps": [0.5, 0.96123],
    "layers": [{"layer": "conv1", "structure": "filter", "total": 8, "kept": 2}],
    "arms": [
        {
            "arm": "ticket",
            "dataset": "digits",
            "validation_accuracy": 0.91,
            "params": 1200,
            "macs": 34000,
        }
    ],
}


def _printed(capsys: pytest.CaptureFixture[str], findings: dict[str, Any]) -> list[str]:
    print_findings(findings)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_ticket_is_told_in_lines_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert _printed(capsys, TICKET) == [
        "mask epoch 3",
        "mask chosen stable",
        "overlaps 0.5 0.9612",
        "trained data set validation MACs params",
        "ticket digits 91.00 % 34 k 1.2 k",
        "layer of kept share",
        "conv1 8 2 25.00 %",
    ]


def test_accuracies_are_in_percent_and_sizes_short(capsys: pytest.CaptureFixture[str]) -> None:
    told = {"accuracy": {"source": 0.975, "pruned": 0.5}, "params": 61706, "macs": 416520}
    assert _printed(capsys, told) == [
        "accuracy, source 97.50 %",
        "accuracy, pruned 50.00 %",
        "params 61.7 k",
        "macs 417 k",
    ]


def test_what_is_not_known_here_is_shown_as_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    told = {"dead_filters": {"conv1": [3]}, "pictures": ["a.png", "b.png"], "none": [], "so": None}
    assert _printed(capsys, told) == [
        'dead filters {"conv1": [3]}',
        "pictures a.png, b.png",
        "none -",
        "so null",
    ]


def test_a_layer_without_anything_has_no_share(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"layer": "conv1", "total": 0, "kept": 0}]
    assert _printed(capsys, {"layers": rows})[-1] == "conv1 0 0 -"


def test_only_growth_is_said_to_have_ended_for_a_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    notes = Notes()
    notes.take("findings", TICKET)
    notes.take("file", {"title": "a.png", "path": "there/1-a.png"})
    notes.take("succeeded", {"end": ""})
    notes.print(Path("there"))
    shown = capsys.readouterr().out
    assert "ended" not in shown
    assert "a.png: there/1-a.png" in shown
    assert "mask epoch" in shown
