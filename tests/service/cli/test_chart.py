from typing import Any

from service.cli.chart import WIDENED, Curve, chart, curves_of


def _marks(line: str) -> list[int]:
    return [index for index, letter in enumerate(line) if letter == WIDENED]


def test_a_share_of_nothing_is_low_and_of_everything_is_high() -> None:
    (line,) = chart([Curve(name="conv", note="8", shares=[0.0, 0.5, 1.0])])
    assert line == "conv  8  ▁▅█  1.00"


def test_a_widening_is_marked_behind_its_epoch_in_its_own_line_only() -> None:
    grown = Curve(name="a", note="8→16", shares=[0.0, 1.0, 0.0], widened=[1])
    other = Curve(name="b", note="8", shares=[0.0, 0.0, 0.0])
    lines = chart([grown, other])
    assert lines[0] == f"a  8→16  ▁█{WIDENED}▁  0.00"
    assert lines[1] == "b  8     ▁▁ ▁  0.00"


def test_more_epochs_than_columns_share_them_and_the_line_keeps_its_width() -> None:
    shares = [index / 499 for index in range(500)]
    (line,) = chart([Curve(name="conv", note="8", shares=shares, widened=[99, 300])], width=60)
    assert len(line) <= 60
    assert line.endswith("█  1.00")
    assert len(_marks(line)) == 2


def test_two_widenings_in_one_column_are_one_mark() -> None:
    curve = Curve(name="conv", note="8", shares=[0.5] * 1000, widened=[500, 501])
    (line,) = chart([curve], width=40)
    assert len(_marks(line)) == 1


def _path(*phases: str, widened_at: int) -> dict[str, Any]:
    """Return the answer of a path of one layer: steps 10, 20, …, accuracies 0.1, 0.2, …"""
    steps = [
        {"step": 10 * number, "phase": phase, "validation_accuracy": number / 10}
        for number, phase in enumerate(phases, 1)
    ]
    filters = [8] * len(phases)
    layer = {"layer": 0, "name": "conv", "n_filters": filters, "n_active": [*range(len(phases))]}
    growth = [{"layer": 0, "step": widened_at, "before": 8, "after": 16}]
    return {"steps": steps, "layers": [layer], "growth": growth}


def test_every_step_is_drawn_and_a_widening_is_marked_behind_its_step() -> None:
    conv, accuracy = curves_of(_path("grow", "anneal", "grow", widened_at=20))
    assert (conv.shares, list(conv.widened)) == ([0, 1 / 8, 2 / 8], [1])
    assert accuracy.shares == [0.1, 0.2, 0.3]
    assert [line.count(WIDENED) for line in chart([conv, accuracy])] == [1, 0]
