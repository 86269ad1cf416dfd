import pytest

from bench import coverage


def test_a_network_comes_through_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    assert coverage.main(["--only", "squeezenet1_1"]) == 0
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.startswith("| squeezenet1_1"))
    assert "52/52 | equal" in row
    assert "1 of 1 networks, every column" in printed


def test_a_network_that_fails_is_named_with_its_column(capsys: pytest.CaptureFixture[str]) -> None:
    assert coverage.main(["--only", "no_such_network"]) == 1
    assert "no_such_network: ValueError: Unknown model" in capsys.readouterr().out
