import io
from typing import Any

import pytest
from rich.console import Console

from service.cli.follow import Screen, follow, follow_as_json, told
from service.client.stream import Event

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


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("pause_requested", {}, "pause requested"),
        ("paused", {}, "paused"),
        ("paused", {"reason": "The disk is full."}, "paused: The disk is full."),
        ("resumed", {}, "resumed"),
        ("retried", {}, "retried: queued again"),
        (
            "restored",
            {"step": 120, "epoch": 3, "damaged": []},
            "going on from step 120, after epoch 3",
        ),
        (
            "restored",
            {"step": 9, "epoch": 3, "damaged": [16, 14]},
            "going on from step 9, after epoch 3; damaged checkpoints were skipped: step 16, 14",
        ),
        (
            "restored",
            {"step": 0, "epoch": 0, "damaged": [40]},
            "beginning anew; damaged checkpoints were skipped: step 40",
        ),
    ],
)
def test_pauses_and_new_beginnings_are_told_in_a_sentence(
    kind: str, data: dict[str, Any], said: str
) -> None:
    assert told(kind, data) == said


def _events(*kinds: str, **data: object) -> list[Event]:
    return [Event(id=number, type=kind, data=dict(data)) for number, kind in enumerate(kinds)]


def test_a_paused_job_is_followed_further_and_how_it_goes_on_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert follow(_events("paused", "resumed", "succeeded"), "0190-7") == "succeeded"
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["paused", "to have it go on: slbi resume 0190-7", "resumed", "succeeded"]


def test_a_job_that_was_paused_for_want_of_room_is_said_to_go_on_by_itself(
    capsys: pytest.CaptureFixture[str],
) -> None:
    follow(_events("paused", reason="The disk is full."), "0190-7")
    assert "it goes on when there is room" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        (("failed", "retried", "succeeded"), "succeeded"),
        (("succeeded",), "succeeded"),
        (("failed", "retried"), ""),
        (("paused",), ""),
        ((), ""),
    ],
)
def test_the_last_end_of_a_retried_job_counts(
    kinds: tuple[str, ...], state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert follow(_events(*kinds), "0190-7") == state
    capsys.readouterr()
    assert follow_as_json(_events(*kinds)) == state
    assert len(capsys.readouterr().out.splitlines()) == len(kinds)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("paused", "paused"), ("resumed", "resumed"), ("retried", "queued"), ("claimed", "running")],
)
def test_a_bar_says_what_a_job_is_doing_until_its_next_epoch(kind: str, said: str) -> None:
    shown = _shown(("progress", PROGRESS), (kind, {}), width=80, terminal=True)
    assert f"{said} ━" in shown.splitlines()[-3].split("\x1b[2K")[-1]


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        ("train", "train  epoch 12/60  accuracy"),
        ("prune", "tune  epoch 12/60  accuracy"),
        ("finetune", "finetune  epoch"),
        ("anneal", "anneal  epoch 12/60  accuracy"),
        ("ticket", "ticket  epoch"),
        ("random", "rival: random  epoch"),
        ("dense", "rival: dense  epoch"),
        ("visualise", "draw  picture 12/60  left 2:03:07  widths"),
        ("export", "export  file 12/60  left 2:03:07  widths"),
    ],
)
def test_every_phase_is_told_as_what_it_is(phase: str, said: str) -> None:
    assert told("progress", {**PROGRESS, "phase": phase}).startswith(said)


def test_what_only_machines_need_is_not_told() -> None:
    assert told("model", {}) == told("step", {}) == ""
