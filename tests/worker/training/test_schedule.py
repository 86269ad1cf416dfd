import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.training.schedule import rates


def _all(schedule: str, base: float, epochs: int, steps: int) -> list[float]:
    return [
        rate
        for epoch in range(epochs)
        for rate in rates(schedule, base, epoch=epoch, epochs=epochs, steps=steps)
    ]


@given(epochs=st.integers(1, 20), steps=st.integers(1, 20), base=st.floats(1e-4, 0.9))
def test_no_schedule_ever_rises_or_passes_its_base(epochs: int, steps: int, base: float) -> None:
    for schedule in ("cosine", "step", "constant"):
        found = _all(schedule, base, epochs, steps)
        assert len(found) == epochs * steps
        assert found[0] == pytest.approx(base)
        assert found == sorted(found, reverse=True)
        assert found[-1] >= 0


def test_cosine_is_half_way_down_in_the_middle() -> None:
    found = _all("cosine", 0.1, 4, 5)
    assert found[10] == pytest.approx(0.05)


def test_step_raises_the_power_in_each_third_as_the_reference_does() -> None:
    assert _all("step", 0.1, 6, 1) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize("epochs", [1, 2])
def test_step_works_for_fewer_epochs_than_powers(epochs: int) -> None:
    assert _all("step", 0.1, epochs, 2)[0] == pytest.approx(0.1)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="cosine, step, drops or constant, got 'linear'"):
        rates("linear", 0.1, epoch=0, epochs=1, steps=1)
