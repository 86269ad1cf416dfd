from typing import Any

import pytest

from worker.training.config import GrowConfig, OptimConfig
from worker.training.data.sources import SOURCES
from worker.training.suit import suited


def test_a_setting_wins_over_the_data_sets_default_and_that_over_the_configs() -> None:
    config = suited("digits", "vgg11", {"growth": {"max_rounds": 2}})
    assert isinstance(config, GrowConfig)
    assert config.growth.max_rounds == 2
    assert (
        config.growth.round_epochs == SOURCES["digits"].defaults["grow"]["growth"]["round_epochs"]
    )
    assert config.optim.momentum == OptimConfig().momentum


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"grow": {}}, "a section of the config must be one of data, optim"),
        (
            {"growth": {"rounds": 2}},
            "a field of growth must be one of start.*got rounds",
        ),
        ({"growth": {"ratio": "two"}}, "values of growth must be of the type"),
        ({"growth": {"max_rounds": "two"}}, "max_rounds must be a whole number, got 'two'"),
        ({"optim": {"batch": 0}}, "batch must be in"),
    ],
)
def test_what_does_not_exist_or_fit_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        suited("digits", "vgg11", settings)
