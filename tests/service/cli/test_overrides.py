from pathlib import Path

import pytest

from service.cli.overrides import spec_of


def test_names_and_settings_make_a_nested_spec() -> None:
    spec = spec_of(
        {"dataset": "digits", "backbone": "vgg11"},
        None,
        ["growth.max_rounds=3", "growth.start.conv1=16", "optim.mu=auto", "data.augment=false"],
    )
    assert spec == {
        "dataset": "digits",
        "backbone": "vgg11",
        "growth": {"max_rounds": 3, "start": {"conv1": 16}},
        "optim": {"mu": "auto"},
        "data": {"augment": False},
    }


def test_what_is_typed_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(
        '{"dataset": "mnist", "backbone": "lenet5", "growth": {"ratio": 2, "start": 8}}'
    )
    spec = spec_of({"dataset": "digits", "backbone": None}, file, ["growth.start=16"])
    assert spec == {
        "dataset": "digits",
        "backbone": "lenet5",
        "growth": {"ratio": 2, "start": 16},
    }


def test_a_group_replaces_one_number_for_all() -> None:
    assert spec_of({}, None, ["growth.start=8", "growth.start.conv1=16"]) == {
        "growth": {"start": {"conv1": 16}}
    }


@pytest.mark.parametrize("setting", ["growth", "=3", "growth.=3", ".start=3"])
def test_a_setting_of_another_form_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="--set must be like"):
        spec_of({}, None, [setting])


@pytest.mark.parametrize("content", ["[1]", "{", ""])
def test_a_file_that_holds_no_json_object_is_refused_by_its_name(
    tmp_path: Path, content: str
) -> None:
    file = tmp_path / "spec.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"spec\.json must hold"):
        spec_of({}, file, [])
