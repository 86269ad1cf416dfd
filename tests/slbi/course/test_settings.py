import pytest

from slbi.course.settings import Growth
from slbi.growth.stages import Target


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rounds": 0}, "rounds must be >= 1, got 0"),
        ({"threshold": 0.0}, r"threshold must be in \(0, 1\], got 0.0"),
        ({"ratio": 0.5}, "ratio and minimum must be >= 1, got 0.5 and 8"),
        ({"pull": 0.0}, r"pull must be in \(0, 1\], got 0.0"),
        ({"where": "best"}, "where must be alike, full or gain, got 'best'"),
        ({"where": "alike"}, "where must be full or gain without targets, got alike"),
        ({"compute": 9}, "compute must go with targets, got 9 without any"),
        ({"targets": (0.1,), "split": (1.0, 2.0)}, "split must be a number in .* for each of 1 "),
        ({"targets": (0.1,), "hold": 1}, r"hold must be in \(0, 1\), got 1"),
        ({"targets": (0.1,), "rise": 1.0}, "rise must be above 1, got 1.0"),
        ({"targets": (0.1,), "max_macs": 9}, "max_macs must be left to the targets, got 9"),
        (
            {"targets": (0.1, 5000)},
            r"targets\.1 must be a share in \(0, 1\] or a Target, got 5000",
        ),
        (
            {"targets": (Target(max_macs=9, max_latency_ms=0.5),)},
            r"targets\.0 must be max_macs or max_params, .*service alone, got max_latency_ms 0\.5",
        ),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Growth(**settings)  # type: ignore[arg-type] # by name


def test_what_is_not_told_depends_on_whether_there_are_targets() -> None:
    rounds, targets = Growth(), Growth(targets=(0.1, Target(max_macs=10**6)))
    assert (rounds.settled_where, rounds.settled_pull) == ("full", 1.0)
    assert (targets.settled_where, targets.settled_pull) == ("alike", 0.1)
