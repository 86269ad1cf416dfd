import pytest

from service.cli.output import count, duration, print_table, share, widths


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (950, "950"),
        (12_345, "12.3 k"),
        (4_560_000, "4.56 M"),
        (3e13, "30 T"),
    ],
)
def test_large_numbers_are_shortened(value: float | None, shown: str) -> None:
    assert count(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (187, "3:07"), (7387, "2:03:07")],
)
def test_time_spans_read_as_clocks(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_share_is_shown_in_percent() -> None:
    assert share(0.9876) == "98.76 %"


def test_widths_stand_in_the_order_of_the_network() -> None:
    assert widths({"conv2": 16, "conv1": 8}) == "16 8"


def test_a_narrow_terminal_breaks_neither_numbers_nor_ids(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("service.cli.output.PIPE_WIDTH", 40)
    job, best, label = "0" * 24, "98.76 %", "a label of many words"
    print_table(["job", "best", "label"], [[job, best, label]], right=["best"], whole=["job"])
    shown = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in shown) <= 40
    assert shown[1].startswith(f"{job}  {best}")
    assert len(shown) > 2
