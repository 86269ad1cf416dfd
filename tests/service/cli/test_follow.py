import io
from typing import Any

import pytest
from rich.console import Console

from service.cli.follow import Screen, told

PROGRESS: dict[str, Any] = {
    "epoch": 12,
    "epochs": 60,
    "round": 1,
    "phase": "grow",
    "validation_accuracy": 0.8742,
    "widths": {f"conv{index}": 8 * index for index in range(1, 9)},
    "eta_seconds": 7387.0,
}
GREW = {"round": 1, "layers": [{"layer": "conv1", "before": 8, "after": 16}]}


def _shown(*events: tuple[str, dict[str, Any]], width: int, terminal: bool) -> str:
    text = io.StringIO()
    target = Console(
        file=text, width=width, force_terminal=terminal, color_system=None, legacy_windows=False
    )
    with Screen("queued", target) as screen:
        for kind, data in events:
            screen.show(kind, data)
    return text.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_all_of_where_a_run_stands_beside_its_bar(width: int) -> None:
    last = _shown(("progress", PROGRESS), width=width, terminal=True).split("round 1 ")[-1]
    first, second = last.splitlines()[:2]
    assert first.endswith("epoch 12/60  accuracy 87.42 %  left 2:03:07")
    assert len("round 1 " + first) <= width
    assert second.split() == ["widths", "8", "16", "24", "32", "40", "48", "56", "64"]


def test_a_file_gets_a_line_an_epoch() -> None:
    shown = _shown(("progress", PROGRESS), ("succeeded", {}), width=200, terminal=False)
    assert shown.splitlines() == [
        "round 1  epoch 12/60  accuracy 87.42 %  left 2:03:07  widths 8 16 24 32 40 48 56 64",
        "succeeded",
    ]


def test_a_terminal_is_told_the_end_once_and_why_a_run_failed() -> None:
    assert _shown(("succeeded", {}), width=80, terminal=True).count("succeeded ") == 1
    failed = _shown(("failed", {"reason": "[diverged]"}), width=80, terminal=True)
    assert "failed: [diverged]" in failed


def test_widening_is_told_by_name() -> None:
    assert told("grew", GREW) == "round 1 widened conv1 8→16"


def test_what_only_machines_need_is_not_told() -> None:
    assert told("model", {}) == told("step", {}) == ""
