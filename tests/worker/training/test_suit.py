from typing import Any

import pytest

from worker.training.config import GrowConfig, OptimConfig
from worker.training.data.sources import SOURCES
from worker.training.plans import TicketConfig
from worker.training.suit import suited, suiting


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
        ({"grow": {}}, "a section of the config must be one of data, stem, optim.*got grow"),
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


def test_every_kind_takes_its_own_sections_and_those_fields_that_are_none() -> None:
    asked = {"widths": 8, "train": {"epochs": 2}, "rivals": ["dense"], "transfer_to": "mnist"}
    config = suited("digits", "vgg11", asked, "ticket")
    assert isinstance(config, TicketConfig)
    assert (config.widths, config.train.epochs, config.transfer_to) == (8, 2, "mnist")
    assert config.retrain == TicketConfig(backbone="vgg11", data=config.data).retrain
    assert list(config.rivals) == ["dense"]


def test_a_data_set_without_defaults_of_a_kind_leaves_the_kinds_own() -> None:
    assert suiting("nowhere", "visualise") == {}
    config = suited("nowhere", "vgg11", {"data": {"image_size": 32}}, "train")
    assert (config.data.dataset, config.data.image_size) == ("nowhere", 32)


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        ("shrink", {}, "kind must be one of"),
        ("train", {"backbone": "vgg13"}, "a section of the config must be one of .*got backbone"),
        ("train", {"growth": {}}, "a section of the config must be one of .*got growth"),
        ("prune", {"train": {}}, "a section of the config must be one of source, .*got train"),
        ("ticket", {"mask": {"epoch": 30}}, "mask epoch must be at most"),
        ("weights", {"finetune": {"epochs": -1}}, "epochs must be in"),
    ],
)
def test_a_kind_refuses_what_is_not_its_own(kind: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        suited("digits", "vgg11", settings, kind)
