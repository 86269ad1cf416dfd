import pytest

from slbi.course.settings import Growth


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rounds": 0}, "rounds must be >= 1, got 0"),
        ({"threshold": 0.0}, r"threshold must be in \(0, 1\], got 0.0"),
        ({"ratio": 0.5}, "ratio and minimum must be >= 1, got 0.5 and 8"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Growth(**settings)  # type: ignore[arg-type] # by name
